"""The columns of the list that a person chooses, stored in a cookie that is sent to the list only."""

from collections.abc import Mapping

from flask import Response, request, url_for

from ...core.i18n import lazy_gettext

COOKIE = "identity-clients-columns"
COOKIE_MAX_AGE_SECONDS = 365 * 24 * 3600
COLUMNS: Mapping[str, str] = {
    "roles": lazy_gettext("Roles"),
    "owner": lazy_gettext("Owner"),
    "tags": lazy_gettext("Tags"),
    "duration": lazy_gettext("Token duration"),
    "secret": lazy_gettext("Secret age"),
    "last": lazy_gettext("Last token"),
    "created": lazy_gettext("Created"),
    "updated": lazy_gettext("Updated"),
}
"""The headings of the columns by name, in the order of the table."""
DEFAULT = ("roles", "duration", "last")
SORTED_BY = {"last": "last_token", "created": "created_at", "updated": "updated_at"}


def chosen_columns() -> list[str]:
    """Return the names of the columns that the query string or the cookie asks for, or the default."""
    if "columns" in request.args:
        names = request.args.getlist("columns")
    else:
        names = request.cookies.get(COOKIE, ".".join(DEFAULT)).split(".")
    return [name for name in COLUMNS if name in names]


def remember_columns(response: Response, columns: list[str]) -> None:
    """Set the cookie where the query string chooses columns."""
    if "columns" in request.args:
        response.set_cookie(
            COOKIE,
            ".".join(columns),
            max_age=COOKIE_MAX_AGE_SECONDS,
            path=url_for(".list"),
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
