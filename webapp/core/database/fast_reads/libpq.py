"""Reads over libpq itself, below psycopg's cursor."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult


class LibpqConnection:
    """A connection of psycopg's in autocommit, asked by libpq's blocking call.

    A cursor waits in several steps, each of which gives the interpreter away and queues for it again. Under load that
    costs a token request more than the database does.
    """

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self._prepared: dict[str, bytes] = {}
        self._transformer = Transformer(connection)

    @property
    def closed(self) -> bool:
        """Whether the connection was closed, or was lost."""
        return self._connection.closed

    @property
    def broken(self) -> bool:
        """Whether the connection was lost."""
        return self._connection.broken

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def rows(self, text: str, values: Sequence[str | int]) -> list[tuple[Any, ...]]:
        """Return every row of a statement, which is prepared the first time that it comes.

        :param text: with `$1`, `$2` and so on in the places of the values.
        :raises psycopg.Error: as a cursor would.
        """
        pgconn, name = self._connection.pgconn, self._prepared.get(text)
        if name is None:
            name = f"identity_clients_{len(self._prepared)}".encode()
            self._checked(pgconn.prepare(name, text.encode(self._connection.info.encoding)))
            self._prepared[text] = name
        dumped = self._transformer.dump_sequence(values, [PyFormat.TEXT] * len(values))
        result = self._checked(pgconn.exec_prepared(name, [value for value in dumped if value is not None]))
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _checked(self, result: PGresult) -> PGresult:
        if result.status in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            return result
        encoding = self._connection.info.encoding
        if self._connection.pgconn.status != ConnStatus.OK:
            raise OperationalError(result.get_error_message(encoding))
        raise error_from_result(result, encoding)
