"""Pages of a list: cursors in the query string, and the `Link` header (RFC 8288)."""

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from flask import request
from pydantic import Field

from ..core.database.cursors import decode_cursor
from .requests import argument_error
from .schemas import Arguments

_CURSOR = r"^[A-Za-z0-9_-]*$"


class PageArguments(Arguments):
    """The arguments that name a page. Take them from the `Link` header."""

    after: str = Field(default="", pattern=_CURSOR, description="The cursor of the item that the page follows.")
    before: str = Field(default="", pattern=_CURSOR, description="The cursor of the item that the page precedes.")


def check_cursors(arguments: PageArguments, is_cursor: Callable[[list[str]], bool], length: int) -> None:
    """Refuse a malformed cursor. The screens show the first page instead, which a program would read repeatedly.

    :param is_cursor: whether the decoded parts are a cursor of this list in this order.
    :param length: the number of parts.
    :raises ProblemRaised: a cursor is malformed, or both are there.
    """
    if arguments.after and arguments.before:
        raise argument_error("before", "Send either after or before.")
    for name in ("after", "before"):
        cursor = getattr(arguments, name)
        parts = decode_cursor(cursor, length) if cursor else None
        if cursor and (parts is None or not is_cursor(parts)):
            raise argument_error(name, "This is no cursor of this list. Follow the links of the Link header.")


def link_header(*, next_cursor: str | None, previous_cursor: str | None) -> Mapping[str, str]:
    """Return the `Link` header of a page, without a relation that has no page."""
    filters = {name: value for name, value in request.args.items() if name not in ("after", "before")}
    found = {"first": filters}
    if previous_cursor is not None:
        found["prev"] = {**filters, "before": previous_cursor}
    if next_cursor is not None:
        found["next"] = {**filters, "after": next_cursor}
    path = request.script_root + request.path
    return {
        "Link": ", ".join(
            f'<{path}{"?" if arguments else ""}{urlencode(arguments)}>; rel="{relation}"'
            for relation, arguments in found.items()
        )
    }
