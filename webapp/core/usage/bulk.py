"""Write many rows: in batches of a bounded size, and with deletions of surplus rows now and then."""

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete

ROWS_PER_STATEMENT = 500
T = TypeVar("T")


def in_batches(rows: Iterable[T]) -> Iterator[list[T]]:
    """Yield the rows in lists of at most `ROWS_PER_STATEMENT`, each as it is taken."""
    rest = iter(rows)
    while batch := list(itertools.islice(rest, ROWS_PER_STATEMENT)):
        yield batch


def delete_surplus(
    connection: Connection, statement: Delete, added: Iterable[tuple[Mapping[str, Any], int]], *, after: int
) -> None:
    """Delete surplus rows, with a probability that grows with the number of added rows.

    :param added: the parameters of each deletion, in the order of the keys, and how many rows were added.
    :param after: about how many surplus rows accumulate.
    """
    surplus = [
        parameters
        for parameters, number in added
        if random.random() < number / after  # noqa: S311 - not for security
    ]
    if surplus:
        connection.execute(statement, surplus)
