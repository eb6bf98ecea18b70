"""Reads with the least possible between a statement and its driver: the token endpoint makes one on every request."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import lru_cache, partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, cast
from weakref import WeakSet, finalize, ref

from sqlalchemy import Engine, Select, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from ...errors import Unavailable
from ..errors import translate_database_errors

CONNECTIONS_MAX = 10
"""How many reads run at once in a process; the others wait for one of these to end."""
WAIT_SECONDS = 3
CONVERTED_MAX = 4096
"""How many values of a column are kept converted: the busy clients' come again and again."""


class PreparedSelect(NamedTuple):
    """A SELECT, compiled once.

    :param parameters: the values of all its parameters; those that a caller gives take their places.
    :param order: the names in the order of their places, None where the driver takes them by name.
    :param conversions: at which places of a row the driver's value is not yet the column's, and what makes it so.
    """

    text: str
    parameters: dict[str, Any]
    order: Sequence[str] | None
    conversions: tuple[tuple[int, Callable[[Any], Any]], ...]


class FastReads:
    """Runs compiled statements on the driver's own cursor: 11 us on SQLite, where `Connection.execute` takes 76.

    It keeps connections of its own beside the pool, in autocommit, since the pool asks PostgreSQL before each read
    whether it is still there. Here a lost connection shows when it is used, and the read is done again on a new one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # A database in memory is its one connection, or one in each thread: it has none to keep beside the pool.
        self._may_keep = not isinstance(engine.pool, StaticPool | SingletonThreadPool)
        self._uses_libpq = self._may_keep and engine.dialect.driver == "psycopg"
        self._begin()
        event.listen(engine, "engine_disposed", partial(_close_those_of, ref(self)))
        _all.add(self)

    def _begin(self) -> None:
        self._idle: deque[Any] = deque()
        self._at_the_end = finalize(self, _close, self._idle)
        # A semaphore of C: `threading` has none.
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(CONNECTIONS_MAX):
            self._places.put(None)

    def prepare(self, statement: Select[*tuple[Any, ...]]) -> PreparedSelect:
        """Return a statement to run here. Its columns' values are of types that never change: rows share them."""
        dialect = self._engine.dialect
        # libpq knows values by their numbers only.
        numbering = cast(Any, type(dialect))(paramstyle="numeric_dollar") if self._uses_libpq else dialect
        compiled = statement.compile(dialect=numbering)
        converters = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in statement.selected_columns
        ]
        return PreparedSelect(
            str(compiled),
            dict(compiled.params),
            getattr(compiled, "positiontup", None),
            tuple((place, lru_cache(CONVERTED_MAX)(convert)) for place, convert in enumerate(converters) if convert),
        )

    def rows(self, statement: PreparedSelect, **parameters: Any) -> list[list[Any]]:
        """Return every row, as the columns' types give them.

        :raises Unavailable: the database is locked or out of reach (D8), or ten reads wait for it already.
        """
        named = {**statement.parameters, **parameters}
        values = named if statement.order is None else [named[name] for name in statement.order]
        try:
            self._places.get(timeout=WAIT_SECONDS)
        except Empty:
            raise Unavailable from None
        try:
            with translate_database_errors():
                found = self._fetched(statement.text, values)
        finally:
            self._places.put(None)
        rows = [list(row) for row in found]
        for place, convert in statement.conversions:
            for row in rows:
                row[place] = convert(row[place])
        return rows

    def _fetched(self, text: str, values: Any) -> Sequence[Any]:
        dialect = self._engine.dialect
        failure = dialect.loaded_dbapi.Error
        try:
            while connection := self._take():
                try:
                    return self._run(connection, text, values)
                except failure as error:
                    # One of PostgreSQL's is closed now, which counts as lost: an upgrade may have changed the tables
                    # under its prepared statement.
                    if not dialect.is_disconnect(error, connection, None):
                        raise
            pooled = self._engine.raw_connection()
            if not self._may_keep:
                with closing(pooled):
                    return _execute(pooled, text, values)
            connection = cast(Any, pooled.driver_connection)
            pooled.detach()
            dialect.set_isolation_level(connection, "AUTOCOMMIT")
            if self._uses_libpq:
                from .libpq import LibpqConnection  # who has no PostgreSQL needs no psycopg

                connection = LibpqConnection(connection)
            return self._run(connection, text, values)
        except failure as error:
            raise DBAPIError.instance(None, None, error, failure, hide_parameters=True, dialect=dialect) from error

    def _take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _run(self, connection: Any, text: str, values: Any) -> Sequence[Any]:
        """Run it on a connection, and keep that for the next time unless it fails."""
        try:
            found = connection.rows(text, values) if self._uses_libpq else _execute(connection, text, values)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return found

    def _begin_in_child(self) -> None:
        # What was connected before is the parent's: closed here, it would be closed there too.
        self._at_the_end.detach()
        _of_parent.append(self._idle)
        self._begin()


def _execute(connection: Any, text: str, values: Any) -> Sequence[Any]:
    cursor = connection.cursor()
    cursor.execute(text, values)
    found: Sequence[Any] = cursor.fetchall()
    cursor.close()
    return found


def _close(idle: deque[Any]) -> None:
    while idle:
        idle.pop().close()


def _close_those_of(reads: ref[FastReads], _engine: Engine) -> None:
    # An engine of the host's may outlive us.
    if found := reads():
        _close(found._idle)


_all: WeakSet[FastReads] = WeakSet()
_of_parent: list[deque[Any]] = []


def _begin_in_child() -> None:
    for reads in _all:
        reads._begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
