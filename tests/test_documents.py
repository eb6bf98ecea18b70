"""All documents: links and paths exist, and commands are targets of the Makefile."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
    if ".venv" not in path.parts
)
# Paths of the repository in code style, such as `webapp/core/errors.py`; placeholders have angle brackets.
_PATH = re.compile(
    r"`((?:webapp|core|web|oauth|standalone|templates|static|migrations|tests|docs|examples|benchmarks|\.ci)/[\w./*-]*)`"
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TARGETS = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split()


def prose(path: Path) -> str:
    """Return a document without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_target_exists(path: Path) -> None:
    for link in _LINK.findall(prose(path)):
        if re.match(r"https?:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_in_code_style_exists(path: Path) -> None:
    """A path of a package may be written without `webapp/`."""
    names = _PATH.findall(prose(path))
    assert [name for name in names if not any(ROOT.glob(name)) and not any(ROOT.glob(f"webapp/{name}"))] == []


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_name_of_the_code_exists(name: str) -> None:
    """Functions, which are written with parentheses, classes and constants."""
    code = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "webapp").rglob("*.py")))
    names = re.findall(r"`((?:[A-Z]\w*\.)?\w+\(\)|[A-Z][a-z]+\w*|[A-Z]+_?[A-Z]+)`", prose(ROOT / name))
    assert len(names) > 10
    words = set(re.findall(r"\w+", code))
    assert sorted({word for name in names for word in re.findall(r"\w+", name)} - words) == []


def test_readme_and_makefile_describe_every_make_target() -> None:
    table = re.findall(r"^\| `make ([\w-]+)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(table) == sorted(_TARGETS)
    comment = re.findall(r"^# make ([\w-]+)", MAKEFILE, re.MULTILINE)
    assert sorted(comment) == sorted(_TARGETS)


def test_pre_commit_runs_the_tools_of_make_lint() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe
    tools = re.findall(r"\$\(BIN\)/([\w-]+(?: (?:check|format))?)", recipe[1])
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    entries = re.findall(r"^ +entry: \.venv/bin/([\w-]+(?: (?:check|format))?)", hooks, re.MULTILINE)
    assert sorted(entries) == sorted(tools)


def test_the_index_of_decisions_lists_every_page_with_its_title() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("[0-9]*.md"))}
    index = re.findall(r"^\| \[(\d+)\]\((\S+)\) \| (.*?) \|", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    titles = [(str(int(name[:4])), name, text.partition("\n")[0].partition(". ")[2]) for name, text in pages.items()]
    assert index == titles
    for name, text in pages.items():
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], name
        assert len(text.splitlines()) <= 60, name
