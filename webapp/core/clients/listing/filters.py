"""The filters of the list, in two forms: as a condition on a client, and as the index that finds the clients."""

import json
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
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
from ...database.models import ClientRole, ClientSearchText, ClientTag, IdentityClient, utc_now
from ..attention import rules_of
from ..attention_queries import clients_of, needs_attention
from .query import ListQuery

HAS_OWNER = (IdentityClient.deleted_at.is_(None), IdentityClient.owner_folded != literal_column("''"))
"""The conditions of the partial index by owner; without parameters, so that PostgreSQL knows that it has the rows."""


class IndexScan(NamedTuple):
    """A SELECT of clients by one index.

    :param keys: the SELECT of the clients' keys.
    :param key: its column of the key.
    :param client_id_folded: the column of the client ID in the index; None where the SELECT reads `IdentityClient`.
    """

    keys: Select[*tuple[Any, ...]]
    key: Any
    client_id_folded: Any = None


def conditions_of(session: Session, account_id: str, query: ListQuery) -> dict[str, ColumnElement[bool]]:
    """Return for each filter of the query, by its name, the condition that a client must meet."""
    conditions: dict[str, ColumnElement[bool]] = {}
    if query.q:
        own_text = aliased(ClientSearchText)
        text = select(own_text.text).where(own_text.client_key == IdentityClient.id, ~own_text.is_stale)
        part = search_index.fold(query.q)
        # Comparing the text by position: LIKE takes several times as long.
        conditions["q"] = or_(_index_in(session, text.scalar_subquery(), part) > 0, _is_found_without_text(query.q))
    if query.status:
        conditions["status"] = IdentityClient.enabled == (true() if query.status == "enabled" else false())
    if query.attention:
        conditions["attention"] = needs_attention(query.attention, account_id, utc_now(), rules_of(session, account_id))
    if query.owner:
        conditions["owner"] = IdentityClient.owner_folded == query.owner.casefold()
    if query.tag:
        own_tag = aliased(ClientTag)
        tagged = select(func.count()).where(own_tag.client_key == IdentityClient.id, own_tag.tag == query.tag)
        conditions["tag"] = tagged.scalar_subquery() > 0
    if query.roles:
        # Counted: for EXISTS PostgreSQL may prefer to read the roles of all accounts.
        own_role = aliased(ClientRole)
        having = select(func.count()).where(own_role.client_key == IdentityClient.id, own_role.role.in_(query.roles))
        conditions["role"] = having.scalar_subquery() > 0
    return conditions


def candidates_of(
    session: Session, account_id: str, query: ListQuery, limit: int
) -> dict[str, Select[*tuple[Any, ...]]]:
    """Return for each filter with an index a SELECT of its clients by it: `client_key` and `client_id_folded`.

    :param limit: how many clients each scan finds at most, where a filter has several.
    """
    candidates: dict[str, Select[*tuple[Any, ...]]] = {}
    if len(search_index.fold(query.q)) >= search_index.TRIGRAM and search_index.has_index(session.connection()):
        candidates["q"] = _found_by_text(session, account_id, query.q)
    if query.attention:
        candidates["attention"] = clients_of(query.attention, account_id, utc_now(), rules_of(session, account_id))
    for name, scans in ordered_scans_of(account_id, query).items():
        if len(scans) == 1:
            candidates[name] = scans[0].keys
        else:
            rows = union(*(select(scan.keys.limit(limit).subquery()) for scan in scans)).subquery()
            candidates[name] = select(rows.c.client_key, rows.c.client_id_folded)
    return candidates


def ordered_scans_of(account_id: str, query: ListQuery) -> dict[str, list[IndexScan]]:
    """Return for each filter whose index has its clients in the order of client IDs the scans of that index.

    There is one scan for each role, so that a client with several roles is in several scans.
    """
    scans: dict[str, list[IndexScan]] = {}
    if query.owner:
        own = select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
            IdentityClient.account_id == account_id,
            IdentityClient.owner_folded == query.owner.casefold(),
            *HAS_OWNER,
        )
        scans["owner"] = [IndexScan(own, IdentityClient.id)]
    if query.tag:
        tagged = select(ClientTag.client_key, ClientTag.client_id_folded).where(
            ClientTag.account_id == account_id, ClientTag.tag == query.tag
        )
        scans["tag"] = [IndexScan(tagged, ClientTag.client_key, ClientTag.client_id_folded)]
    if query.roles:
        scans["role"] = [
            IndexScan(
                select(ClientRole.client_key, ClientRole.client_id_folded).where(
                    ClientRole.account_id == account_id, ClientRole.role == role
                ),
                ClientRole.client_key,
                ClientRole.client_id_folded,
            )
            for role in query.roles
        ]
    return scans


def _found_by_text(session: Session, account_id: str, q: str) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the clients that contain a text, by the search index, and those not yet in the index."""
    part = search_index.fold(q)
    numbers = search_index.matching_numbers(session.get_bind().dialect.name, account_id, part).subquery()
    [number] = numbers.c
    columns = (ClientSearchText.client_key, IdentityClient.client_id_folded)
    indexed = (
        select(*columns)
        .select_from(numbers)
        .join(ClientSearchText, ClientSearchText.number == number)
        .join(IdentityClient, IdentityClient.id == ClientSearchText.client_key)
        .where(
            ClientSearchText.account_id == account_id,
            ~ClientSearchText.is_stale,
            _index_in(session, ClientSearchText.text, part) > 0,
            IdentityClient.deleted_at.is_(None),
        )
    )
    stale = (
        select(*columns)
        .join(IdentityClient, IdentityClient.id == ClientSearchText.client_key)
        .where(
            ClientSearchText.account_id == account_id,
            ClientSearchText.is_stale == true(),
            _contains(q),
            IdentityClient.deleted_at.is_(None),
        )
    )
    found = union_all(indexed, stale).subquery()
    return select(found.c.client_key, found.c.client_id_folded)


def _is_found_without_text(q: str) -> ColumnElement[bool]:
    """Return the condition for a client that was written in bulk, or by an earlier release, and is not indexed yet."""
    own_text = aliased(ClientSearchText)
    stale = select(func.count()).where(own_text.client_key == IdentityClient.id, own_text.is_stale == true())
    return and_(_contains(q), stale.scalar_subquery() > 0)


def _contains(q: str) -> ColumnElement[bool]:
    """Return the condition that a client's own columns contain a text."""
    columns = (
        IdentityClient.client_id_folded,
        IdentityClient.name_folded,
        IdentityClient.description_folded,
        IdentityClient.owner_folded,
    )
    tag = json.dumps(q.lower())[1:-1]  # as the column holds it
    return or_(
        *(column.contains(q.casefold(), autoescape=True) for column in columns),
        type_coerce(IdentityClient.tags, Text).contains(tag, autoescape=True),
    )


def _index_in(session: Session, text: Any, part: str) -> ColumnElement[int]:
    """Return the expression of where a text contains a part, from 1; 0 if it does not."""
    return (func.instr if session.get_bind().dialect.name == "sqlite" else func.strpos)(text, part)
