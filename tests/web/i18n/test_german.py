"""The catalogue of the package for German."""

import re
from pathlib import Path
from typing import Any

from babel.messages.catalog import Message

from tests.support.catalogues import extract_messages, own_catalogue

MENDING = "Run `make messages`, then edit webapp/translations/de/LC_MESSAGES/identity_clients.po (see CONTRIBUTING.md)."
_PARTS = re.compile(r"%\(\w+\)s|</?[a-z][^>]*>|\{\}")
"""What a translation has to keep: variables and markup."""


def parts(text: str) -> list[str]:
    """Return the variables and tags of a text."""
    return sorted(_PARTS.findall(text))


def forms(text: Any) -> list[str]:
    """Return the singular and the plural, or the only form, of a message or of its translation."""
    return list(text) if isinstance(text, (list, tuple)) else [text or ""]


def problems_of(message: Message, translated: Message | None) -> list[str]:
    """Return what is wrong with the translation of a message."""
    ours, theirs = forms(message.id), forms(translated.string if translated else "")
    if not all(theirs):
        return ["no translation"]
    if len(ours) != len(theirs):
        return ["other plural forms"]
    expected = [[parts(text)] for text in ours]
    if len(ours) == 2:  # "the last day" needs no number
        expected[0].append([part for part in parts(ours[0]) if part != "%(number)s"])
    return [
        f"other variables or tags: {text}"
        for text, allowed in zip(theirs, expected, strict=True)
        if parts(text) not in allowed
    ]


def test_german_is_complete(tmp_path: Path) -> None:
    """Each text of the code is translated, with its variables, markup and plural forms, and nothing else is."""
    texts, german = extract_messages(tmp_path / "identity_clients.pot"), own_catalogue("de")
    assert len(texts) > 1000
    found = [
        f"{', '.join(sorted({file for file, _ in message.locations}))}: {problem}: {message.id!r}"
        for message in texts
        if message.id
        for problem in problems_of(message, german.get(message.id))
    ]
    found += [
        f"no longer in the code: {message.id!r}" for message in german if message.id and not texts.get(message.id)
    ]
    assert not found, "\n".join([*found, MENDING])


def test_german_is_written_in_one_style() -> None:
    """German quotation marks, no space before a comma or full stop, "Sie", and one word for one thing."""
    wrong = re.compile(
        r"“[^„]*”|(?<!\w)[Dd](?:u|ein|eine|ich|ir)(?!\w)|\s[.,;:!?](?=\s|$)|  "
        r"|(?<!\w)[Ee]rstell|Geheimnis|Tokenanforderung|Tokengültigkeit|[Ee]rlaubte Adresse|Zugriffstoken|Klient"
    )
    texts = [text for message in own_catalogue("de") if message.id for text in forms(message.string)]
    assert [text for text in texts if wrong.search(text)] == []


def test_the_test_can_fail() -> None:
    german = own_catalogue("de")
    for message in (
        Message("A text that is not there"),
        Message("Save %(what)s", "Speichern"),
        Message(("%(number)s <b>client</b>", "%(number)s <b>clients</b>"), ("ein Client", "%(number)s Clients")),
        Message(("%(number)s day", "%(number)s days"), ("ein Tag", "Tage")),
        Message("<b>Save</b>", "<i>Speichern</i>"),
    ):
        assert problems_of(message, message if message.string else german.get(message.id))
