"""Rules that hold for every template and static file, read as text."""

import base64
import hashlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
# C2: what is vendored, with the SHA-384 of the file as its makers published it.
VENDORED = {
    "static/identity_clients/vendor/htmx-4.0.1.min.js": (
        "Qp9rdC8H7EqOoX+nR0P3RPG2Noji+qdwJlGpfzwQJsfOpp3sGwIdSP9xO3+UlEhn"
    ),
}

# W17, W15, C2: what no template may hold, and why.
FORBIDDEN = [
    (r"\|\s*safe\b", "data could become markup"),
    (r"\bMarkup\b", "data could become markup"),
    (r"autoescape\s+false", "data could become markup"),
    (r"\sstyle\s*=", "the policy refuses inline style"),
    (r"<style\b", "the policy refuses inline style"),
    (r"<script(?![^>]*\bsrc=)", "the policy refuses inline script"),
    (r"\son[a-z]+\s*=", "the policy refuses inline handlers"),
    (r"hx-on\b|hx-on:", "inline code"),
    (r"\bjs:", "inline code"),
    (r"hx-trigger=\"[^\"]*\[(?!name=)", "a trigger filter is code"),
    (r"https?://", "no page loads from another host"),
    (r"=\{\{", "an attribute without quotes"),
    (r"(?<!script_root ~ )request\.path", "it lacks the sub-path of a host"),
    (r"(href|action|src)=\"/", "it lacks the sub-path of a host"),
]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_a_template_opens_with_a_comment_of_its_parameters(path: Path) -> None:
    assert path.read_text("utf-8").startswith("{# ")


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_a_template_holds_no_way_for_data_to_become_code(path: Path) -> None:
    """A template holds no way for data to become code (W17, W15, C2)."""
    text = path.read_text("utf-8")
    assert [(pattern, why) for pattern, why in FORBIDDEN if re.search(pattern, text)] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_no_text_of_a_person_stands_in_an_htmx_attribute(path: Path) -> None:
    """Only addresses made by url_for, and names that a template itself gives (W17)."""
    allowed = re.compile(r"\A(url|target|swap|status|url_for\(.*\))\Z")
    for attribute in re.findall(r"\shx-[\w:-]+=\"([^\"]*(?:\{\{.*?\}\}[^\"]*)*)\"", path.read_text("utf-8")):
        for expression in re.findall(r"\{\{\s*(.*?)\s*\}\}", attribute):
            assert allowed.match(expression), expression


def test_templates_stay_readable() -> None:
    """At most 2 % of their lines have more than 120 columns, none more than 160."""
    lengths = [len(line) for path in TEMPLATES for line in path.read_text("utf-8").splitlines()]
    assert max(lengths) <= 160
    assert sum(length > 120 for length in lengths) <= len(lengths) * 0.02


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_no_text_of_a_template_is_where_white_space_counts(path: Path) -> None:
    """`UnindentingLoader` would take the indentation of literal text; values are left alone."""
    for element in re.findall(r"<(?:pre|textarea)\b.*?</(?:pre|textarea)>", path.read_text("utf-8"), re.DOTALL):
        content = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", element, flags=re.DOTALL).rpartition("</")[0]
        assert re.fullmatch(r"<[^>]*>\s*", content, re.DOTALL), element


def test_every_stylesheet_is_part_of_the_one_that_is_served() -> None:
    folder = ROOT / "static" / "identity_clients"
    imported = re.findall(r'^@import "(.*)";$', (folder / "app.css").read_text("utf-8"), re.MULTILINE)
    assert sorted(imported) == [path.relative_to(folder).as_posix() for path in sorted((folder / "css").iterdir())]


def test_vendored_files_are_as_published() -> None:
    """Named with their version, and equal to the recorded SHA-384 (C2)."""
    vendored = {name(path) for path in (ROOT / "static").rglob("vendor/*")}
    assert vendored == set(VENDORED)
    for file, digest in VENDORED.items():
        assert base64.b64encode(hashlib.sha384((ROOT / file).read_bytes()).digest()).decode() == digest
        assert re.search(r"-\d+\.\d+\.\d+\.", file)


def test_the_history_cache_extension_is_absent() -> None:
    """The history cache extension is absent (W14)."""
    assert not list((ROOT / "static").rglob("*history-cache*"))
