"""Rules for the text of all templates and static files."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from jinja2 import meta

from tests.support.host import Host
from webapp.web.http.responses import template_context

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
# Vendored files, with the SHA-384 of the published file (C2).
VENDORED = {
    "static/identity_clients/vendor/htmx-4.0.1.min.js": (
        "Qp9rdC8H7EqOoX+nR0P3RPG2Noji+qdwJlGpfzwQJsfOpp3sGwIdSP9xO3+UlEhn"
    ),
}

# Patterns that no template may contain, each with its reason (W17, W15, C2).
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


def declared_parameters(path: Path) -> set[str]:
    """Return the parameters in the opening comment of a template, and in those of the templates that it refers to."""
    comment = re.match(r"\{#.*?#\}", path.read_text("utf-8"), re.DOTALL)
    assert comment, "it must open with a comment of its parameters"
    lines = re.findall(r"^   (\w+(?:, \w+)*)(?::|$)", comment[0], re.MULTILINE)
    found = {parameter for line in lines for parameter in line.split(", ")}
    for reference in re.findall(r"(?:[Pp]arameters: |as in )(.*)", comment[0]):
        for other in re.findall(r"[\w/]+\.html", reference):
            [template] = {path.parent / other, path.parents[1] / other} & {*TEMPLATES}
            found |= declared_parameters(template)
    return found


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_a_template_declares_its_parameters(host: Host, path: Path) -> None:
    """Except the variables that every template has: of Flask, of `template_context()` and of the translations."""
    source = path.read_text("utf-8")
    own = re.findall(r"\{%-? (?:import \S+ as|from \S+ import|set) (\w+(?:, \w+)*)", source)
    with host.app.test_request_context():
        context = {*host.app.jinja_env.globals, *template_context(), "request", "caller"}
    undeclared = meta.find_undeclared_variables(host.app.jinja_env.parse(source)) - context - declared_parameters(path)
    assert undeclared - {variable for names in own for variable in names.split(", ")} == set()


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_no_template_lets_data_become_code(path: Path) -> None:
    """No unescaped value, inline script or style, or address of another host (W17, W15, C2)."""
    text = path.read_text("utf-8")
    assert [(pattern, why) for pattern, why in FORBIDDEN if re.search(pattern, text)] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_htmx_attributes_hold_no_user_text(path: Path) -> None:
    """Only addresses made by url_for, and names that the template itself sets (W17)."""
    allowed = re.compile(r"\A(url|test_url|target|swap|trigger|status|url_for\(.*\))\Z")
    for attribute in re.findall(r"\shx-[\w:-]+=\"([^\"]*(?:\{\{.*?\}\}[^\"]*)*)\"", path.read_text("utf-8")):
        for expression in re.findall(r"\{\{\s*(.*?)\s*\}\}", attribute):
            assert allowed.match(expression), expression


def test_line_lengths_of_templates() -> None:
    """At most 2 % of their lines have more than 120 columns, and none has more than 160."""
    lengths = [len(line) for path in TEMPLATES for line in path.read_text("utf-8").splitlines()]
    assert max(lengths) <= 160
    assert sum(length > 120 for length in lengths) <= len(lengths) * 0.02


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_elements_that_keep_white_space_hold_no_indented_text(path: Path) -> None:
    """`UnindentingLoader` would remove the indentation of literal text; values are not affected."""
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
    """It would store pages in the browser (W14)."""
    assert not list((ROOT / "static").rglob("*history-cache*"))
