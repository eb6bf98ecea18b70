"""The search index of clients: which clients have a text that contains given trigrams.

The index is an inverted one that the engine maintains: FTS5 on SQLite, GIN on PostgreSQL. Its terms are hashes of
account and trigram, made here, so that what a search costs depends on the account's own clients only, and the engines
agree. A hash may stand for several trigrams, so that a search compares the text as well.
"""

import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Select, bindparam, column, event, func, select, table, type_coerce, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapper
from sqlalchemy.types import Integer

from .models import ClientSearchText, IdentityClient
from .unit_of_work import unit_of_work

TRIGRAM = 3
QUERY_TRIGRAMS_MAX = 8
"""How many trigrams of a long search are looked up; the text is compared anyway."""
COMMON_MIN = 10_000
"""How many entries of the search index make a text common, deleted clients included."""
STALE_AT_ONCE = 2_000
_NAME = "identity_client_search_index"
# FTS5 is searched by a column that has the name of the table.
INDEX = table(_NAME, column(_NAME), column("rowid"), column("number"), column("tokens"))
_SIGN = 1 << 31


def fold(text: str) -> str:
    """Return a text as it is searched, without case and marks: `istanbul` finds `İstanbul`, `strasse` `Straße`."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character)).casefold()


def search_text(client_id: str, name: str, description: str, owner: str, tags: Iterable[str]) -> str:
    """Return the text in which a search looks for a client.

    Its parts are separated by line breaks, which no search contains.
    """
    return "\n".join(map(fold, (client_id, name, description, *filter(None, (owner, *sorted(tags))))))


def tokens_of(account_id: str, text: str) -> list[int]:
    """Return the hashes of a text's trigrams in an account, as signed numbers of 32 bits."""
    return _tokens(account_id, _trigrams(text))


def _tokens(account_id: str, trigrams: Iterable[str]) -> list[int]:
    start = zlib.crc32(f"{account_id}\0".encode())
    return [zlib.crc32(trigram.encode(), start) - _SIGN for trigram in trigrams]


def _trigrams(text: str) -> set[str]:
    return {text[place : place + TRIGRAM] for place in range(len(text) - TRIGRAM + 1)}


def part_tokens(dialect: str, account_id: str, part: str) -> str | list[int]:
    """Return the tokens that all texts with `part` have, as the index of an engine is searched for them.

    :param part: folded, and of 3 or more characters.
    """
    # Those with digits first: trigrams of words are in the texts of many clients.
    rare = sorted(_trigrams(part), key=lambda trigram: sum(map(str.isalpha, trigram)))[:QUERY_TRIGRAMS_MAX]
    tokens = _tokens(account_id, rare)
    return " AND ".join(map(_term, tokens)) if dialect == "sqlite" else tokens


def matching_numbers(dialect: str, tokens: Any) -> Any:
    """Return a SELECT of the numbers of all texts that may contain a part.

    :param tokens: `part_tokens` of the part, or a parameter for them.
    """
    if dialect == "sqlite":
        return select(INDEX.c.rowid).where(INDEX.c[_NAME].op("MATCH")(tokens))
    wanted = type_coerce(tokens, postgresql.ARRAY(Integer))
    return select(INDEX.c.number).where(INDEX.c.tokens.op("@>")(wanted))


def is_common(connection: Connection, account_id: str, part: str) -> bool:
    """Return whether the index finds so many texts that it is of no use to read them all.

    The index alone is read, since PostgreSQL joins all that it finds before it counts the first.

    :param part: folded, and of 3 or more characters.
    """
    dialect = connection.dialect.name
    numbers = matching_numbers(dialect, part_tokens(dialect, account_id, part)).limit(COMMON_MIN)
    return connection.scalar(select(func.count()).select_from(numbers.subquery())) == COMMON_MIN


def clients_by_text(dialect: str, account_id: str, part: str) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the keys of an account's clients, deleted ones too, whose text contains `part`, by the index.

    :param part: folded, and of 3 or more characters.
    """
    [number] = matching_numbers(dialect, part_tokens(dialect, account_id, part)).subquery().c
    return select(ClientSearchText.client_key).where(
        ClientSearchText.number == number,
        ClientSearchText.account_id == account_id,
        ClientSearchText.text.contains(part, autoescape=True),
    )


def update_stale(engine: Engine) -> None:
    """Index every client that was written without its search text: by an earlier release, or in bulk."""
    while True:
        with unit_of_work(engine) as session:
            connection = session.connection()
            rows = connection.execute(
                select(
                    ClientSearchText.number,
                    ClientSearchText.account_id,
                    ClientSearchText.text,
                    IdentityClient.client_id,
                    IdentityClient.name,
                    IdentityClient.description,
                    IdentityClient.owner,
                    IdentityClient.tags,
                )
                .join(IdentityClient, IdentityClient.id == ClientSearchText.client_key)
                .where(ClientSearchText.is_stale)
                .limit(STALE_AT_ONCE)
                .with_for_update(skip_locked=True, of=ClientSearchText)
            ).all()
            if not rows:
                return
            _write(connection, [(*row[:3], search_text(*row[3:])) for row in rows])


def _write(connection: Connection, rows: Sequence[tuple[int, str, str, str]]) -> None:
    """Write texts and their tokens.

    :param rows: number, account, the text until now, empty where it is not indexed yet, and the text from now on.
    """
    connection.execute(
        update(ClientSearchText)
        .where(ClientSearchText.number == bindparam("of_number"))
        .values(text=bindparam("new_text"), is_stale=False),
        [{"of_number": number, "new_text": new} for number, _, _, new in rows],
    )
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "INSERT INTO identity_client_search_index (number, tokens) VALUES (%s, %s::integer[])"
            " ON CONFLICT (number) DO UPDATE SET tokens = excluded.tokens",
            # As text: the driver takes ten times as long to convert a list.
            [(number, f"{{{','.join(map(str, tokens_of(account_id, new)))}}}") for number, account_id, _, new in rows],
        )
    elif has_index(connection):
        # An index without the texts themselves must be given the tokens that it loses.
        removed = [(number, _terms(account_id, old)) for number, account_id, old, _ in rows if old]
        if removed:
            connection.exec_driver_sql(
                "INSERT INTO identity_client_search_index (identity_client_search_index, rowid, tokens)"
                " VALUES ('delete', ?, ?)",
                removed,
            )
        connection.exec_driver_sql(
            "INSERT INTO identity_client_search_index (rowid, tokens) VALUES (?, ?)",
            [(number, _terms(account_id, new)) for number, account_id, _, new in rows],
        )


def has_index(connection: Connection) -> bool:
    """Return whether the database has the index: SQLite has none where its library lacks FTS5."""
    if connection.dialect.name == "postgresql":
        return True
    found = connection.exec_driver_sql(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'identity_client_search_index'"
    )
    return found.first() is not None


def _terms(account_id: str, text: str) -> str:
    return " ".join(map(_term, tokens_of(account_id, text)))


def _term(token: int) -> str:
    return f"x{token + _SIGN:x}"


@event.listens_for(IdentityClient, "after_insert")
@event.listens_for(IdentityClient, "after_update")
def _index_client(_mapper: Mapper[Any], connection: Connection, client: IdentityClient) -> None:
    row = connection.execute(_OF_CLIENT, {"key": client.id}).one()
    new = search_text(client.client_id, client.name, client.description, client.owner, client.tags)
    if row.is_stale or new != row.text:
        _write(connection, [(row.number, client.account_id, row.text, new)])


_OF_CLIENT = select(ClientSearchText.number, ClientSearchText.text, ClientSearchText.is_stale).where(
    ClientSearchText.client_key == bindparam("key")
)
