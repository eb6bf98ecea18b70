"""`docs/requirements.md` lists every cited requirement, and each implemented one is cited by a test."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LIST = ROOT / "docs" / "requirements.md"
ALL = "all"
# One identifier or the two ends of a range, never part of a longer word, path or file name.
_CITATION = re.compile(r"(?<![\w./-])([A-Z]\d{1,2})(?:-([A-Z]\d{1,2}))?(?![\w-]|\.\w)")
_TEST_NAME = re.compile(r"test_((?:[a-z]\d{1,2}_)+)")
_COMMENTS = {".html": re.compile(r"\{#.*?#\}", re.DOTALL), ".css": re.compile(r"/\*.*?\*/", re.DOTALL)}
_COMMENTS[".js"] = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


class Requirement(NamedTuple):
    """A row of the list.

    :param missing: the part that is not implemented yet: empty for none, `all` for the whole.
    """

    id: str
    sentence: str
    source: str
    missing: str


def requirements() -> list[Requirement]:
    """Return the rows of the list in their order."""
    rows = re.findall(r"^\| ([A-Z]\d+) \|(.*)\|$", LIST.read_text("utf-8"), re.MULTILINE)
    return [Requirement(id_, *(cell.strip() for cell in cells.split(" |"))) for id_, cells in rows]


LISTED = requirements()
PREFIXES = {requirement.id[0] for requirement in LISTED}


def cited_in(text: str) -> set[str]:
    """Return the identifiers that a text cites."""
    found = {id_ for ends in _CITATION.findall(text) for id_ in ends}
    return {id_ for id_ in found if id_[:1] in PREFIXES}


def cited_by_python(source: str) -> set[str]:
    """Return the identifiers in comments, docstrings and names of tests; other strings are data."""
    prose = list(_docstrings(ast.parse(source)))
    names: set[str] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            prose.append(token.string)
        elif token.type == tokenize.NAME and (found := _TEST_NAME.match(token.string)):
            names.update(found[1].upper().strip("_").split("_"))
    return cited_in("\n".join(prose)) | names


def _docstrings(tree: ast.Module) -> Iterator[str]:
    """Return every string that is a statement of its own; attributes have such docstrings as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


@cache
def citations() -> dict[Path, set[str]]:
    """Return the identifiers that each file of the project cites, by its path from the root."""
    found = {}
    for path in _files("webapp", "tests", "migrations", "templates", "static", "docs"):
        text = path.read_text("utf-8")
        if path.suffix == ".py":
            cited = cited_by_python(text)
        elif path.suffix == ".md":
            cited = cited_in(re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        else:
            cited = cited_in("\n".join(_COMMENTS[path.suffix].findall(text)))
        if cited:
            found[path.relative_to(ROOT)] = cited
    return found


def _files(*folders: str) -> Iterable[Path]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".md", *_COMMENTS} and "vendor" not in path.parts and path != LIST:
                yield path


def cited_by_tests() -> set[str]:
    """Return the identifiers that any test cites."""
    return {id_ for path, cited in citations().items() if path.parts[0] == "tests" for id_ in cited}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("# refused before any hash (D2)\n", {"D2"}),
        ('"""Read a request, each rule in turn (P1-P5)."""\n', {"P1", "P5"}),
        ('"""What every answer carries (W13 to W16)."""\n', {"W13", "W16"}),
        ("def test_l4_l5_an_error_shows_nothing() -> None: ...\n", {"L4", "L5"}),
        ('seconds: int\n"""How long it may take (D8)."""\n', {"D8"}),
        ("# S105, RA1, A1b, client-A1, v.A1, A1.csv and docs/A1 are other things; B2 has no list\n", set()),
        ('name = "A1"\n', set()),
    ],
)
def test_what_counts_as_a_citation(source: str, expected: set[str]) -> None:
    assert cited_by_python(source) == expected


def test_every_row_has_a_unique_identifier_a_sentence_and_a_source() -> None:
    ids = [requirement.id for requirement in LISTED]
    assert len(ids) == len(set(ids))
    assert len(ids) > 90
    for requirement in LISTED:
        assert requirement.sentence.endswith("."), requirement.id
        assert requirement.source, requirement.id


def test_every_requirement_that_is_cited_is_listed() -> None:
    listed = {requirement.id for requirement in LISTED}
    unknown = {str(path): sorted(cited - listed) for path, cited in citations().items() if cited - listed}
    assert unknown == {}, "add these to docs/requirements.md, or cite the right ones"


def test_every_implemented_requirement_has_a_test() -> None:
    implemented = [requirement.id for requirement in LISTED if requirement.missing != ALL]
    assert [id_ for id_ in implemented if id_ not in cited_by_tests()] == [], (
        "cite each of these in a test that shows it"
    )


def test_a_tested_requirement_is_not_listed_as_missing() -> None:
    missing = [requirement.id for requirement in LISTED if requirement.missing == ALL]
    implemented = [id_ for id_ in missing if id_ in cited_by_tests()]
    assert implemented == [], (
        "empty the last cell of these rows of docs/requirements.md, or name the part that is missing"
    )
