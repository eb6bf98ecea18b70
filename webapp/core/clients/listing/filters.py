"""The filters of the list, in two forms: as a condition on a client, and as the index that finds the clients.

All have parameters in place of values, which `values_of` returns, so that statements with them can be built once.
"""

import json
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    type_coerce,
    union,
    union_all,
)
from sqlalchemy.orm import Session, aliased

from ...database import search_index
from ...database.models import ClientRole, ClientSearchText, ClientTag, IdentityClient
from .. import attention_queries
from ..attention_queries import clients_of, needs_attention
from .query import ListQuery

HAS_OWNER = (IdentityClient.deleted_at.is_(None), IdentityClient.owner_folded != literal_column("''"))
"""The conditions of the partial index by owner; without parameters, so that PostgreSQL knows that it has the rows."""
IN_ORDER = ("owner", "tag", "roles")
"""The filters with an index that has its clients in the order of client IDs."""
_ACCOUNT_ID: BindParameter[Any] = bindparam("account_id")
_ESCAPE = "/"


class Filters(NamedTuple):
    """Which filters a query has: what its statements depend on, besides the values of their parameters.

    :param dialect: the name of the engine's SQL dialect.
    :param has_text_index: whether an index finds the clients that have the text of `q`.
    :param roles: of how many roles the clients must have one.
    """

    dialect: str
    q: bool = False
    has_text_index: bool = False
    status: str = ""
    attention: str = ""
    owner: bool = False
    tag: bool = False
    roles: int = 0

    @property
    def names(self) -> frozenset[str]:
        """The names of the filters that are set."""
        return frozenset(name for name in ("q", "status", "attention", "owner", "tag", "roles") if getattr(self, name))

    def only(self, name: str) -> Self:
        """Return one of the filters without the others."""
        return type(self)(self.dialect, **{name: getattr(self, name)})

    @property
    def indexed(self) -> list[str]:
        """The names of the filters that are set and have an index, in the order in which the indexes are tried."""
        names = self.names if self.has_text_index else self.names - {"q"}
        return [name for name in ("q", "attention", *IN_ORDER) if name in names]


class IndexScan(NamedTuple):
    """A SELECT of clients by one index.

    :param keys: the SELECT of the clients' keys.
    :param key: its column of the key.
    :param client_id_folded: the column of the client ID in the index; None where the SELECT reads `IdentityClient`.
    """

    keys: Select[*tuple[Any, ...]]
    key: Any
    client_id_folded: Any = None


def filters_of(session: Session, query: ListQuery) -> Filters:
    """Return which filters a query has."""
    is_long = len(search_index.fold(query.q)) >= search_index.TRIGRAM
    return Filters(
        dialect=session.get_bind().dialect.name,
        q=bool(query.q),
        has_text_index=is_long and search_index.has_index(session.connection()),
        status=query.status,
        attention=query.attention,
        owner=bool(query.owner),
        tag=bool(query.tag),
        roles=len(query.roles),
    )


def values_of(session: Session, account_id: str, query: ListQuery) -> dict[str, Any]:
    """Return the values of the parameters in all conditions and scans of a query."""
    values: dict[str, Any] = {f"role_{number}": role for number, role in enumerate(query.roles)}
    values |= {"account_id": account_id, "owner": query.owner.casefold(), "tag": query.tag, "roles": query.roles}
    if query.attention:
        values |= attention_queries.values_of(session, account_id)
    if query.q:
        part = search_index.fold(query.q)
        values |= {
            "part": part,
            "part_tokens": search_index.part_tokens(session.get_bind().dialect.name, account_id, part),
            "own_part": _escaped(query.q.casefold()),
            "tag_part": _escaped(json.dumps(query.q.lower())[1:-1]),  # as the column holds it
        }
    return values


def conditions_of(filters: Filters) -> dict[str, ColumnElement[bool]]:
    """Return for each filter, by its name, the condition that a client must meet."""
    conditions: dict[str, ColumnElement[bool]] = {}
    if filters.q:
        own_text = aliased(ClientSearchText)
        text = select(own_text.text).where(own_text.client_key == IdentityClient.id, ~own_text.is_stale)
        # Comparing the text by position: LIKE takes several times as long.
        conditions["q"] = or_(_has_part(filters, text.scalar_subquery()), _is_found_without_text())
    if filters.status:
        conditions["status"] = IdentityClient.enabled == (true() if filters.status == "enabled" else false())
    if filters.attention:
        conditions["attention"] = needs_attention(filters.attention)
    if filters.owner:
        conditions["owner"] = IdentityClient.owner_folded == bindparam("owner")
    if filters.tag:
        own_tag = aliased(ClientTag)
        tagged = select(func.count()).where(own_tag.client_key == IdentityClient.id, own_tag.tag == bindparam("tag"))
        conditions["tag"] = tagged.scalar_subquery() > 0
    if filters.roles:
        # Counted: for EXISTS PostgreSQL may prefer to read the roles of all accounts.
        own_role = aliased(ClientRole)
        having = select(func.count()).where(
            own_role.client_key == IdentityClient.id, own_role.role.in_(bindparam("roles", expanding=True))
        )
        conditions["roles"] = having.scalar_subquery() > 0
    return conditions


def candidates_of(filters: Filters, name: str) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the clients of one filter by its index: `client_key` and `client_id_folded`.

    Where it has several scans, each of them finds as many clients as the parameter `limit_of_scan` says.
    """
    if name == "q":
        return _found_by_text(filters)
    if name == "attention":
        return clients_of(filters.attention)
    scans = ordered_scans_of(filters, name)
    if len(scans) == 1:
        return scans[0].keys
    limit = bindparam("limit_of_scan", type_=Integer)
    rows = union(*(select(scan.keys.limit(limit).subquery()) for scan in scans)).subquery()
    return select(rows.c.client_key, rows.c.client_id_folded)


def ordered_scans_of(filters: Filters, name: str) -> list[IndexScan]:
    """Return the scans of the index of one of the filters `IN_ORDER`.

    There is one scan for each role, so that a client with several roles is in several scans.
    """
    if name == "owner":
        own = select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
            IdentityClient.account_id == _ACCOUNT_ID, IdentityClient.owner_folded == bindparam("owner"), *HAS_OWNER
        )
        return [IndexScan(own, IdentityClient.id)]
    if name == "tag":
        tagged = select(ClientTag.client_key, ClientTag.client_id_folded).where(
            ClientTag.account_id == _ACCOUNT_ID, ClientTag.tag == bindparam("tag")
        )
        return [IndexScan(tagged, ClientTag.client_key, ClientTag.client_id_folded)]
    return [
        IndexScan(
            select(ClientRole.client_key, ClientRole.client_id_folded).where(
                ClientRole.account_id == _ACCOUNT_ID, ClientRole.role == bindparam(f"role_{number}")
            ),
            ClientRole.client_key,
            ClientRole.client_id_folded,
        )
        for number in range(filters.roles)
    ]


def _found_by_text(filters: Filters) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the clients that contain a text, by the search index, and those not yet in the index."""
    numbers = search_index.matching_numbers(filters.dialect, bindparam("part_tokens")).subquery()
    [number] = numbers.c
    columns = (ClientSearchText.client_key, IdentityClient.client_id_folded)
    indexed = (
        select(*columns)
        .select_from(numbers)
        .join(ClientSearchText, ClientSearchText.number == number)
        .join(IdentityClient, IdentityClient.id == ClientSearchText.client_key)
        .where(
            ClientSearchText.account_id == _ACCOUNT_ID,
            ~ClientSearchText.is_stale,
            _has_part(filters, ClientSearchText.text),
            IdentityClient.deleted_at.is_(None),
        )
    )
    stale = (
        select(*columns)
        .join(IdentityClient, IdentityClient.id == ClientSearchText.client_key)
        .where(
            ClientSearchText.account_id == _ACCOUNT_ID,
            ClientSearchText.is_stale == true(),
            _contains_part(),
            IdentityClient.deleted_at.is_(None),
        )
    )
    found = union_all(indexed, stale).subquery()
    return select(found.c.client_key, found.c.client_id_folded)


def _is_found_without_text() -> ColumnElement[bool]:
    """Return the condition for a client that was written in bulk, or by an earlier release, and is not indexed yet."""
    own_text = aliased(ClientSearchText)
    stale = select(func.count()).where(own_text.client_key == IdentityClient.id, own_text.is_stale == true())
    return and_(_contains_part(), stale.scalar_subquery() > 0)


def _contains_part() -> ColumnElement[bool]:
    """Return the condition that a client's own columns contain a text."""
    columns = (
        IdentityClient.client_id_folded,
        IdentityClient.name_folded,
        IdentityClient.description_folded,
        IdentityClient.owner_folded,
    )
    return or_(
        *(column.contains(bindparam("own_part"), escape=_ESCAPE) for column in columns),
        type_coerce(IdentityClient.tags, Text).contains(bindparam("tag_part"), escape=_ESCAPE),
    )


def _escaped(part: str) -> str:
    for special in (_ESCAPE, "%", "_"):
        part = part.replace(special, _ESCAPE + special)
    return part


def _has_part(filters: Filters, text: Any) -> ColumnElement[bool]:
    """Return the condition that a folded text contains a part."""
    position = func.instr if filters.dialect == "sqlite" else func.strpos
    return position(text, bindparam("part", type_=Text)) > 0
