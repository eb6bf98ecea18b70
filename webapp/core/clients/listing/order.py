"""The orders in which clients are listed, and the positions in them."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from ...database.models import IdentityClient

DEFAULT_SORT = "client_id"
COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "client_id": IdentityClient.client_id_folded,
    "name": IdentityClient.name_folded,
    "updated_at": IdentityClient.updated_at,
    "created_at": IdentityClient.created_at,
    "last_token": IdentityClient.last_token_at,
}
TIMES = frozenset({"updated_at", "created_at", "last_token"})
"""The sorts by a time."""
SORTS = tuple(sign + name for name in COLUMNS for sign in ("", "-"))
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """The sort key of a client: the value of the column, and the client's key."""

    value: Any
    key: uuid.UUID

    def parameters(self) -> dict[str, Any]:
        """Return the values of the parameters of `Order.beyond`."""
        return {"position_value": self.value, "position_key": self.key}


class Order:
    """The order of one sort: by its column, and by the key where values are equal."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.descending = sort.startswith("-")
        self.name = sort.removeprefix("-")
        self.column = COLUMNS[self.name]

    def rows(self, value: Any, key: Any, *, backwards: bool = False) -> tuple[ColumnElement[Any], ...]:
        """Return the columns to order by, in this order or from its end."""
        return tuple(column.desc() if self.descending != backwards else column.asc() for column in (value, key))

    def beyond(self, value: Any, key: Any, *, backwards: bool = False) -> ColumnElement[bool]:
        """Return the condition that a row follows a position, or precedes it; the position is parameters."""
        row = tuple_(value, key)
        bound = tuple_(
            bindparam("position_value", type_=self.column.type),
            bindparam("position_key", type_=IdentityClient.id.type),
        )
        return row < bound if self.descending != backwards else row > bound

    def position_of(self, client: IdentityClient) -> Position:
        """Return the position of a client, at which a cursor or a count starts."""
        return Position(getattr(client, self.column.key), client.id)

    def sort_key(self, client: IdentityClient) -> tuple[Any, uuid.UUID]:
        """Return the key by which Python sorts clients as the database does; no time sorts before every time."""
        value = getattr(client, self.column.key)
        return (_NEVER if value is None else value), client.id
