"""CSV files that spreadsheet programs open as they are (L7)."""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from io import StringIO

from ...core.i18n import ENGLISH, Language, use_language
from ..i18n.language import current_language
from .response_kinds import ResponseKind, ScreenResponse

BYTE_ORDER_MARK = "\ufeff"
"""Excel reads a CSV file as UTF-8 only where it begins with this."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")
_NAME_PART_CHARACTERS_MAX = 60


def csv_file(rows: Iterable[Iterable[str]], *name: str) -> ScreenResponse:
    """Return the download of a CSV file, sent row by row.

    :param name: the parts of the file's name, which contains only ASCII letters, digits, dots, hyphens and underscores.
    """
    response = ScreenResponse(_lines(iter(rows), current_language()), content_type="text/csv; charset=utf-8")
    response.kind = ResponseKind.DOWNLOAD
    response.headers["Content-Disposition"] = f'attachment; filename="{file_name(name)}.csv"'
    return response


def _lines(rows: Iterator[Iterable[str]], language: Language) -> Iterator[str]:
    yield BYTE_ORDER_MARK
    while (row := _next_row(rows, language)) is not None:
        yield csv_line(row)


def _next_row(rows: Iterator[Iterable[str]], language: Language) -> Iterable[str] | None:
    """Return the next row in the language of the request, which is over when the server asks for it."""
    use_language(lambda: language)
    try:
        return next(rows, None)
    finally:
        use_language(lambda: ENGLISH)


def csv_line(cells: Iterable[str]) -> str:
    """Return a line of CSV (RFC 4180), ended by CRLF. A cell that a spreadsheet would compute is prefixed with `'`."""
    line = StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(
        f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells
    )
    return line.getvalue()


def file_name(parts: Iterable[str]) -> str:
    """Return the name of a download: its parts in ASCII, joined by underscores."""
    decomposed = (unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode() for part in parts)
    plain = (re.sub(r"[^A-Za-z0-9.]+", "-", part)[:_NAME_PART_CHARACTERS_MAX].strip(".-") for part in decomposed)
    return "_".join(filter(None, plain))
