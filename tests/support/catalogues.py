"""Translations made with the commands of `docs/settings.md`, for Flask-Babel."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from flask import Flask, request
from flask_babel import Babel

from tests.support import servers
from tests.support.guide import SETTINGS, blocks

Translate = Callable[[str, int], str]
OWN_TRANSLATIONS = servers.ROOT / "webapp" / "translations"


def make_catalogue(directory: Path, locale: str, translate: Translate) -> list[str]:
    """Make `translations/<locale>/LC_MESSAGES/identity_clients.mo` in a directory; return all messages.

    :param translate: return the translation of a message and its plural index, 0 for the only one; "" for none.
    """
    (directory / "babel.cfg").write_text(blocks("Languages", "ini", SETTINGS)[0])
    _find, *lines = blocks("Languages", "sh", SETTINGS)[0].splitlines()
    extract, init, compile_ = (line.replace("-l fr", f"-l {locale}") for line in lines)
    _run(directory, extract.replace('"$OURS"', f"{servers.ROOT / 'webapp'} {servers.ROOT / 'templates'}"))
    _run(directory, init)
    path = directory / "translations" / locale / "LC_MESSAGES" / "identity_clients.po"
    with path.open("rb") as file:
        catalogue: Catalog = read_po(file, locale=locale)
    messages = [message for message in catalogue if message.id]
    for message in messages:
        if isinstance(message.id, str):
            message.string = translate(message.id, 0)
        else:
            message.string = tuple(translate(text, index) for index, text in enumerate(message.id))
    with path.open("wb") as file:
        write_po(file, catalogue)
    _run(directory, compile_)
    return [text for message in messages for text in ([message.id] if isinstance(message.id, str) else message.id)]


def extract_messages(path: Path) -> Catalog:
    """Return the messages of the code, with the files that they are in, as `make messages` finds them.

    :param path: a file for the template of catalogues.
    """
    _run(
        servers.ROOT,
        'pybabel extract -F pyproject.toml -k "ic_gettext ic_ngettext:1,2 lazy_gettext" --add-location file'
        f" -o {shlex.quote(str(path))} webapp templates",
    )
    with path.open("rb") as file:
        return read_po(file)


def own_catalogue(language: str) -> Catalog:
    """Return the catalogue of the package for a language."""
    with (OWN_TRANSLATIONS / language / "LC_MESSAGES" / "identity_clients.po").open("rb") as file:
        return read_po(file, locale=language)


def use_flask_babel(app: Flask, directory: Path, locale_selector: Callable[[], str | None] | None = None) -> None:
    """Add Flask-Babel with these translations to an application; the language is the browser's first."""
    app.config["BABEL_TRANSLATION_DIRECTORIES"] = str(directory / "translations")
    Babel(app, locale_selector=locale_selector or (lambda: next(request.accept_languages.values()).replace("-", "_")))


def _run(directory: Path, line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "pybabel"
    subprocess.run(
        [sys.executable, "-m", "babel.messages.frontend", *arguments],
        cwd=directory,
        env=os.environ,
        check=True,
        capture_output=True,
    )
