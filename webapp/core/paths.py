"""The folders beside the package: templates, static files and migrations."""

from pathlib import Path


def resource_folder(name: str) -> Path:
    """Return the path of a resource folder: at the top of the repository, or inside the installed package."""
    package = Path(__file__).parents[1]
    return package / name if (package / name).is_dir() else package.parent / name
