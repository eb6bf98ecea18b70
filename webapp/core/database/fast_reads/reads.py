"""Run compiled statements on the cursor of the driver, or on libpq."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import lru_cache, partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol, cast
from weakref import WeakSet, finalize, ref

from sqlalchemy import ClauseElement, Dialect, Engine, Insert, Select, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from ...errors import Unavailable
from ..errors import translate_database_errors
from ..time_limits import POOL_WAIT_SECONDS, ServerOutage

CONNECTIONS_MAX = 10
"""How many reads run concurrently in a process; others wait for one of these to end."""
CONVERTED_MAX = 4096
"""How many converted values of a column are cached, since those of busy clients recur."""


class PreparedStatement(NamedTuple):
    """A compiled SELECT or INSERT.

    :param parameters: the default values of all its parameters.
    :param order: the parameters' names in positional order, None where the driver takes them by name.
    :param conversions: pairs of the index of a column whose driver value needs conversion, and the function for it.
    """

    text: str
    parameters: dict[str, Any]
    order: Sequence[str] | None
    conversions: tuple[tuple[int, Callable[[Any], Any]], ...]


class FastReads:
    """Runs compiled SELECTs and INSERTs on its own connections in autocommit mode, at most `CONNECTIONS_MAX` at once.

    The engine's pool would ping PostgreSQL before each read. Here a lost connection is noticed by the read that fails,
    which is repeated on a new one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Each connection to a database in memory is another database, so that only the pool's can be used.
        self._keeps_connections = not isinstance(engine.pool, StaticPool | SingletonThreadPool)
        self._uses_libpq = self._keeps_connections and engine.dialect.driver == "psycopg"
        self._outage = ServerOutage()
        self._reset()
        event.listen(engine, "engine_disposed", partial(_close_idle_of, ref(self)))
        _instances.add(self)

    def _reset(self) -> None:
        self._idle: deque[_Connection] = deque()
        self._finalizer = finalize(self, _close, self._idle)
        # Serves as a semaphore, since those of `threading` are written in Python and slower.
        self._slots: SimpleQueue[None] = SimpleQueue()
        for _ in range(CONNECTIONS_MAX):
            self._slots.put(None)

    def prepare(self, statement: Select[*tuple[Any, ...]]) -> PreparedStatement:
        """Compile a statement for `rows`. Its columns must have immutable values, since rows share them."""
        dialect = self._engine.dialect
        converters = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in statement.selected_columns
        ]
        conversions = [
            (index, lru_cache(CONVERTED_MAX)(convert)) for index, convert in enumerate(converters) if convert
        ]
        return self._compile(statement, tuple(conversions))

    def prepare_insert(self, statement: Insert) -> PreparedStatement:
        """Compile an INSERT of one row, which is committed at once; the driver takes its values as they are given.

        It may run twice where the connection is lost, so it must violate a constraint the second time.
        """
        return self._compile(statement, ())

    def rows(self, statement: PreparedStatement, **parameters: Any) -> list[list[Any]]:
        """Return every row, with the values that the columns' types produce.

        :raises Unavailable: the database is locked or unreachable (D8), or no connection became free in time.
        """
        named = {**statement.parameters, **parameters}
        values = named if statement.order is None else [named[name] for name in statement.order]
        try:
            self._slots.get(timeout=POOL_WAIT_SECONDS)
        except Empty:
            raise Unavailable from None
        try:
            fetched = self._fetch(statement.text, values)
        except SQLAlchemyError:
            with translate_database_errors():  # only here, since entering it costs a microsecond
                raise
        finally:
            self._slots.put(None)
        rows = [list(row) for row in fetched]
        for index, convert in statement.conversions:
            for row in rows:
                row[index] = convert(row[index])
        return rows

    def close(self) -> None:
        """Close the connections that no read uses at this moment; a later read opens new ones."""
        _close(self._idle)

    def _compile(
        self, statement: ClauseElement, conversions: tuple[tuple[int, Callable[[Any], Any]], ...]
    ) -> PreparedStatement:
        # libpq has numbered parameters only.
        dialect = self._engine.dialect
        numbering = cast(Any, type(dialect))(paramstyle="numeric_dollar") if self._uses_libpq else dialect
        compiled = statement.compile(dialect=numbering)
        return PreparedStatement(
            str(compiled), dict(compiled.params), getattr(compiled, "positiontup", None), conversions
        )

    def _fetch(self, text: str, values: Any) -> Sequence[Any]:
        dialect = self._engine.dialect
        errors = dialect.loaded_dbapi.Error
        try:
            while connection := self._take_idle():
                try:
                    return self._run(connection, text, values)
                except _StaleConnection:
                    continue
            if not self._keeps_connections:
                with closing(self._engine.raw_connection()) as pooled:
                    fetched = _DriverConnection(pooled, dialect).rows(text, values)
                    pooled.commit()
                    return fetched
            try:
                return self._run(self._connect(), text, values)
            except _StaleConnection as stale:
                raise stale.error from None
        except errors as error:
            raise DBAPIError.instance(None, None, error, errors, hide_parameters=True, dialect=dialect) from error

    def _take_idle(self) -> "_Connection | None":
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self) -> "_Connection":
        """Return a new connection of the engine, which its pool no longer knows."""
        pooled = self._engine.raw_connection()
        connection = cast(Any, pooled.driver_connection)
        pooled.detach()
        self._engine.dialect.set_isolation_level(connection, "AUTOCOMMIT")
        if self._engine.dialect.name == "sqlite":
            # Only an INSERT of `prepare_insert` waits for the disk otherwise; it may be lost in a power cut.
            connection.execute("PRAGMA synchronous=NORMAL")
        if not self._uses_libpq:
            return _DriverConnection(connection, self._engine.dialect)
        from .libpq import LibpqConnection  # needs psycopg, which is optional

        return LibpqConnection(connection, self._outage)

    def _run(self, connection: "_Connection", text: str, values: Any) -> Sequence[Any]:
        """Run the statement on a connection, and keep the connection for later reads unless it fails.

        :raises _StaleConnection: the statement may succeed on a new connection.
        """
        try:
            fetched = connection.rows(text, values)
        except self._engine.dialect.loaded_dbapi.Error as error:
            is_stale = connection.is_stale(error)
            connection.close()
            if is_stale:
                raise _StaleConnection(error) from None
            raise
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return fetched

    def _reset_after_fork(self) -> None:
        # The parent goes on using its connections, which closing them here would end.
        self._finalizer.detach()
        _parents_connections.append(self._idle)
        self._reset()


class _StaleConnection(Exception):
    """A statement failed on a connection, and may succeed on a new one.

    :param error: the driver's error.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Connection(Protocol):
    """What `FastReads` needs of a connection."""

    def rows(self, text: str, values: Any, /) -> Sequence[Any]:
        """Return every row of a statement."""

    def is_stale(self, error: Any, /) -> bool:
        """Return whether an error means that the statement may succeed on a new connection."""

    def close(self) -> None:
        """Close the connection."""


class _DriverConnection:
    """Runs statements on one cursor of the driver."""

    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._dialect = dialect

    def rows(self, text: str, values: Any) -> Sequence[Any]:
        self._cursor.execute(text, values)
        fetched: Sequence[Any] = self._cursor.fetchall() if self._cursor.description else ()
        return fetched

    def is_stale(self, error: Any) -> bool:
        return bool(self._dialect.is_disconnect(error, self._connection, None))

    def close(self) -> None:
        self._connection.close()


def _close(idle: deque[_Connection]) -> None:
    while idle:
        idle.pop().close()


def _close_idle_of(reads: ref[FastReads], _engine: Engine) -> None:
    # Weakly referenced, since an engine of the host may outlive the FastReads.
    if (instance := reads()) is not None:
        instance.close()


_instances: WeakSet[FastReads] = WeakSet()
_parents_connections: list[deque[_Connection]] = []
"""Connections made before a fork, referenced so that garbage collection never closes them."""


def _reset_after_fork() -> None:
    for reads in _instances:
        reads._reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
