"""Parsed HTML: the form that would be posted, the ids, the text."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from werkzeug.test import TestResponse


@dataclass
class Markup:
    """A parsed page or fragment.

    :param values: name and value of each field that the form would post, in order.
    :param inputs: the attributes of each named control; for several with one name, the last.
    :param texts: the text of each element with an id.
    """

    values: list[tuple[str, str]] = field(default_factory=list)
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    text: str = ""

    def form(self, **changes: str | list[str]) -> dict[str, str | list[str]]:
        """Return the form data that would be posted, with these fields changed."""
        data: dict[str, str | list[str]] = {}
        for name, value in self.values:
            several = data.setdefault(name, [])
            assert isinstance(several, list)
            several.append(value)
        return {**data, **changes}

    def value(self, name: str) -> str:
        """Return the single value that the form would post under a name."""
        (value,) = [value for found, value in self.values if found == name]
        return value

    def described(self, name: str) -> str:
        """Return the text of the elements in a control's `aria-describedby`."""
        return " ".join(self.texts[id_] for id_ in self.inputs[name]["aria-describedby"].split())


class _Reader(HTMLParser):
    VOID = frozenset(("input", "meta", "link", "br", "hr", "path", "circle", "rect"))

    def __init__(self, markup: Markup) -> None:
        super().__init__()
        self.markup = markup
        self.open: list[tuple[str, str]] = []  # tag and id
        self.textarea: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.markup.tags.append((tag, found))
        if "id" in found:
            self.markup.ids.append(found["id"])
            self.markup.texts[found["id"]] = ""
        if tag not in self.VOID:
            self.open.append((tag, found.get("id", "")))
        if tag == "fieldset" and found.get("id", "").startswith("f-"):
            self.markup.inputs[found["id"].removeprefix("f-")] = found
        name = found.get("name", "")
        if not name or tag not in ("input", "textarea"):
            return
        if name != "roles":
            self.markup.inputs[name] = found
        if tag == "textarea":
            self.textarea = name
            self.markup.values.append((name, ""))
        elif found.get("type") not in ("checkbox", "radio") or "checked" in found:
            self.markup.values.append((name, found.get("value", "on" if found.get("type") == "checkbox" else "")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.VOID:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.textarea = None
        while self.open and tag not in self.VOID:
            if self.open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        self.markup.text += data
        for _, id_ in self.open:
            if id_:
                self.markup.texts[id_] += data
        if self.textarea is not None:
            name, value = self.markup.values[-1]
            # A line break that directly follows the tag is not part of the value.
            self.markup.values[-1] = (name, value + (data if value else re.sub(r"\A\n", "", data)))


def read(answer: TestResponse | str) -> Markup:
    """Parse the HTML of a response; assert that its ids are unique, and that all referenced ids exist."""
    markup = Markup()
    _Reader(markup).feed(answer if isinstance(answer, str) else answer.text)
    assert len(set(markup.ids)) == len(markup.ids), "an id occurs twice"
    for tag, attributes in markup.tags:
        for reference in (
            "for",
            "aria-describedby",
            "aria-labelledby",
            "data-copy",
            "data-reveal",
            "data-twin",
            "data-count",
        ):
            for id_ in attributes.get(reference, "").split():
                assert id_ in markup.ids, f"{tag} names {id_}"
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in markup.ids
    return markup


def one_line(html: str) -> str:
    """Return HTML in one line without white space beside tags."""
    return re.sub(r"\s*(<[^<>]*?)\s*(/?>)\s*", r"\1\2", " ".join(html.split()))


class _UntranslatedTexts(HTMLParser):
    """Collect the text of a page outside of «...», which encloses every message of ours."""

    UNREAD_TAGS = frozenset(("script", "style", "pre", "code", "textarea"))
    READ_ATTRIBUTES = frozenset(
        ("title", "placeholder", "alt", "label", "aria-label", "aria-description", "aria-valuetext")
    )

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0
        self.unread_depth = 0
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in self.UNREAD_TAGS:
            self.unread_depth += 1
        for name, value in attributes.items():
            if name in self.READ_ATTRIBUTES or (name.startswith("data-") and re.search(r"[A-Z]|\s", value)):
                self.found.append(_outside(value))
        if tag == "input" and attributes.get("type") in ("submit", "button", "reset"):
            self.found.append(_outside(attributes.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.UNREAD_TAGS:
            self.unread_depth -= 1

    def handle_data(self, data: str) -> None:
        if self.unread_depth:
            return
        outside = ""
        for character in data:
            self.depth += {"«": 1, "»": -1}.get(character, 0)
            if not self.depth and character != "»":
                outside += character
        self.found.append(outside)


def _outside(text: str) -> str:
    """Return the text outside of «...»."""
    reader = _UntranslatedTexts()
    reader.handle_data(text)
    assert reader.depth == 0, text
    return reader.found[0]


def untranslated_texts(html: str) -> list[str]:
    """Return each visible text or attribute of a page that is not enclosed in «...»."""
    reader = _UntranslatedTexts()
    reader.feed(html)
    reader.close()
    assert reader.depth == 0, "a message is cut"
    return [" ".join(text.split()) for text in reader.found if text.strip()]
