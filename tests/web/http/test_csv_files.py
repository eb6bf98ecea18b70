"""CSV files: quoting, formulas, the byte order mark and the file name (L7)."""

import csv
from io import StringIO

import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st

from webapp.web.http.csv_files import csv_file, csv_line

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("plain", "plain"),
        ("", ""),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM", "'@SUM"),
        ("\tx", "'\tx"),
        ("\rx", '"\'\rx"'),
        ("\0x", "'\0x"),
        ("a=1", "a=1"),
        ("'=1", "'=1"),
        ('say "hi"', '"say ""hi"""'),
        ("a,b", '"a,b"'),
        ("two\r\nlines", '"two\r\nlines"'),
        ("=a,b", '"\'=a,b"'),
    ],
)
def test_a_cell_is_quoted_and_never_computed(cell: str, written: str) -> None:
    """RFC 4180, and a prefix before a value that a spreadsheet would compute (L7)."""
    assert csv_line([cell, "end"]) == f"{written},end\r\n"


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=4), min_size=1))
@example([["\r", "\n"], ["\r\n", '"'], ["=", "'="], ["\0", ","]])
def test_every_cell_is_read_as_it_was_written(rows: list[list[str]]) -> None:
    """Except for the prefix of a formula (L7)."""
    text = "".join(map(csv_line, rows))
    read = list(csv.reader(StringIO(text, newline="")))
    assert len(read) == len(rows)
    for cells, row in zip(read, rows, strict=True):
        assert not any(cell.startswith(FORMULA) for cell in cells)
        assert [
            cell[1:] if original.startswith(FORMULA) else cell for cell, original in zip(cells, row, strict=True)
        ] == row


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("activity", "Northwind Insurance", "2026-03-01"), "activity_Northwind-Insurance_2026-03-01.csv"),
        (("activity", "", "2026-03-01"), "activity_2026-03-01.csv"),
        (("activity", "Zoë & Söhne GmbH"), "activity_Zoe-Sohne-GmbH.csv"),
        (("activity", "東京"), "activity.csv"),
        (("activity", 'a"; filename="x.exe'), "activity_a-filename-x.exe.csv"),
        (("activity", "../../etc/passwd\r\nSet-Cookie: a=b"), "activity_etc-passwd-Set-Cookie-a-b.csv"),
        (("activity", "x" * 300), f"activity_{'x' * 60}.csv"),
    ],
)
def test_the_file_name_is_plain_ascii(parts: tuple[str, ...], name: str) -> None:
    """Names of accounts and clients come from people, so they must not end the header's value (L7)."""
    with Flask("host").test_request_context():
        response = csv_file([["a", "é"]], *parts)
        assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert response.get_data() == b"\xef\xbb\xbfa,\xc3\xa9\r\n"
