"""Run statements on libpq, below psycopg's cursor."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult


class LibpqConnection:
    """Runs statements on a connection of psycopg, in autocommit mode, by libpq's blocking calls.

    A cursor waits in several steps, each of which releases the GIL and queues for it again. Under load that costs a
    token request more than the database does.
    """

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self._prepared: dict[str, bytes] = {}
        self._transformer = Transformer(connection)

    @property
    def closed(self) -> bool:
        """Whether the connection was closed or lost."""
        return self._connection.closed

    @property
    def broken(self) -> bool:
        """Whether the connection was lost."""
        return self._connection.broken

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rows(self, text: str, values: Sequence[str | int]) -> list[tuple[Any, ...]]:
        """Return every row of a statement, which is prepared on its first use.

        :param text: the statement with `$1`, `$2` and so on for the values.
        :raises psycopg.Error: the same errors as a cursor.
        """
        pgconn, name = self._connection.pgconn, self._prepared.get(text)
        if name is None:
            name = f"identity_clients_{len(self._prepared)}".encode()
            self._check(pgconn.prepare(name, text.encode(self._connection.info.encoding)))
            self._prepared[text] = name
        dumped = self._transformer.dump_sequence(values, [PyFormat.TEXT] * len(values))
        result = self._check(pgconn.exec_prepared(name, [value for value in dumped if value is not None]))
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _check(self, result: PGresult) -> PGresult:
        if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            return result
        encoding = self._connection.info.encoding
        if self._connection.pgconn.status != ConnStatus.OK:
            raise OperationalError(result.get_error_message(encoding))
        raise error_from_result(result, encoding)
