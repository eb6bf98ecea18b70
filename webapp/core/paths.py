"""Where the folders beside the package are."""

from pathlib import Path


def resource_folder(name: str) -> Path:
    """Return a folder that stands at the top level of the repository, and inside the package in a wheel."""
    package = Path(__file__).parents[1]
    return package / name if (package / name).is_dir() else package.parent / name
