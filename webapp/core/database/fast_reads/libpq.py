"""Run statements on libpq, below psycopg's cursor."""

import select
from collections.abc import Sequence
from secrets import token_hex
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import FeatureNotSupported, InvalidSqlStatementName, error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

from ..postgresql import CHECK_SECONDS, ServerNotResponding, cancel_in_background, is_loss, timer_of
from ..time_limits import ResponseTimer, ServerOutage


class LibpqConnection:
    """Runs statements on a connection of psycopg in autocommit mode.

    A cursor waits in several steps, each of which releases the GIL and queues for it again. Under load that costs a
    token request more than the database does. Here there is one wait for the whole response.

    :param outage: used where the connection has none of its own, as one of the host's engine.
    """

    def __init__(self, connection: Connection[Any], outage: ServerOutage) -> None:
        self._connection = connection
        self._outage: ServerOutage = getattr(connection, "outage", outage)
        self._poll = select.poll()
        self._poll.register(connection.pgconn.socket, select.POLLIN)
        # Random, so that behind a pooler no statement of another client is ever executed by mistake.
        self._name_prefix = f"identity_clients_{token_hex(8)}_"
        self._names: dict[str, bytes] = {}
        self._prepares = True
        self._transformer = Transformer(connection)

    def rows(self, text: str, values: Sequence[str | int]) -> list[tuple[Any, ...]]:
        """Return every row of a statement, which is prepared on its first use.

        :param text: the statement with `$1`, `$2` and so on for the values.
        :raises psycopg.Error: the same errors as a cursor.
        """
        if not self._outage.may_try():
            raise ServerNotResponding
        dumped = self._transformer.dump_sequence(values, [PyFormat.TEXT] * len(values))
        result = self._execute(text, [value for value in dumped if value is not None])
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def is_stale(self, error: Exception) -> bool:
        """Return whether an error means that the statement would succeed on a new connection."""
        if isinstance(error, FeatureNotSupported):
            return True  # a migration has changed the columns of a prepared statement
        return self._connection.pgconn.status != ConnStatus.OK and not isinstance(error, ServerNotResponding)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _execute(self, text: str, values: list[Any]) -> PGresult:
        pgconn = self._connection.pgconn
        if self._prepares:
            try:
                name = self._names.get(text) or self._prepare(text)
                pgconn.send_query_prepared(name, values)
                return self._receive()
            except InvalidSqlStatementName:
                # A pooler in transaction mode has changed the session since the statement was prepared.
                self._prepares = False
        pgconn.send_query_params(text.encode(self._connection.info.encoding), values)
        return self._receive()

    def _prepare(self, text: str) -> bytes:
        name = f"{self._name_prefix}{len(self._names)}".encode()
        self._connection.pgconn.send_prepare(name, text.encode(self._connection.info.encoding))
        self._receive()
        self._names[text] = name
        return name

    def _receive(self) -> PGresult:
        """Return the result of the statement that was sent.

        :raises psycopg.Error: the statement failed, or the server does not respond.
        """
        timer = timer_of(self._connection)
        try:
            return self._await_result(timer)
        except OperationalError as error:
            if timer.has_waited_long and is_loss(self._connection, error):
                self._outage.begin()
            raise

    def _await_result(self, timer: ResponseTimer) -> PGresult:
        pgconn = self._connection.pgconn
        result = None
        while True:
            while not self._poll.poll(CHECK_SECONDS * 1000):
                if timer.is_over:
                    self._outage.begin()
                    pgconn.finish()
                    raise ServerNotResponding
                if timer.must_cancel():
                    cancel_in_background(self._connection)
            pgconn.consume_input()
            while not pgconn.is_busy():
                following = pgconn.get_result()
                if following is None:
                    self._outage.end()
                    return self._check(result)
                result = following

    def _check(self, result: PGresult | None) -> PGresult:
        if result is not None and result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            return result
        encoding = self._connection.info.encoding
        if result is None or self._connection.pgconn.status != ConnStatus.OK:
            raise OperationalError(self._connection.pgconn.get_error_message(encoding))
        raise error_from_result(result, encoding)
