"""Remember the assertions that were used, for all processes and hosts (S11)."""

import random
from contextlib import nullcontext
from datetime import datetime
from threading import Lock

from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError

from ..database.fast_reads import FastReads
from ..database.models import UsedAssertion
from ..database.sqlite import without_waiting_for_disk
from ..database.unit_of_work import unit_of_work
from ..errors import Unavailable

PURGE_AFTER = 1_000
"""After about so many new ones a process deletes those that have expired."""
PURGED_MAX = 2_000
"""The number of rows that one request deletes."""


class UsedAssertions:
    """The assertions that were used and have not expired, in the database.

    Not in the store of the rate limits: that may be the memory of one process, and it may be unreachable, while an
    assertion must be refused the second time wherever it is sent.
    """

    def __init__(self, engine: Engine, reads: FastReads) -> None:
        self._engine = without_waiting_for_disk(engine)
        self._reads = reads
        # SQLite has one writer at a time, and a thread that finds another one at it sleeps for milliseconds.
        self._writing = Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self._insert = reads.prepare_insert(insert(UsedAssertion))

    def add(self, digest: str, expires_at: int, now: datetime) -> bool:
        """Add an assertion and return True, or return False if it was used before.

        :param digest: as `ClientAssertion.digest`.
        :param expires_at: from when on it is refused as expired, in seconds.
        :raises Unavailable: the database is unreachable, or cannot be written (D8).
        """
        try:
            with self._writing:
                self._reads.rows(self._insert, digest=digest, expires_at=expires_at)
        except IntegrityError:
            return False
        if random.random() < 1 / PURGE_AFTER:  # noqa: S311 - not for security
            self.purge(now)
        return True

    def purge(self, now: datetime) -> None:
        """Delete the assertions that have expired, `PURGED_MAX` at most; where the database is locked, none."""
        expired = (
            select(UsedAssertion.digest)
            .where(UsedAssertion.expires_at <= now)
            .order_by(UsedAssertion.expires_at)
            .limit(PURGED_MAX)
            .with_for_update(skip_locked=True)  # another process deletes them too; SQLite has one writer
        )
        try:
            with unit_of_work(self._engine) as session:
                session.execute(
                    delete(UsedAssertion)
                    .where(UsedAssertion.digest.in_(expired))
                    .execution_options(synchronize_session=False)
                )
        except Unavailable:
            return
