"""Look up whether hashes are left that were stored before the scheme followed the form of the secret."""

import time

from sqlalchemy import Engine, exists, or_, select

from ..database.models import ClientSecret, ResourceServer, utc_now
from ..database.unit_of_work import read_session

CHECK_EVERY_SECONDS = 60


class LegacyHashes:
    """Looks up whether there are legacy hashes, once a minute."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._exist = False
        self._check_at = time.monotonic()

    def exist(self) -> bool:
        """Return whether a secret that has not ended still has a legacy hash, as of a minute ago at most.

        :raises Unavailable: the database is unreachable.
        """
        if time.monotonic() >= self._check_at:
            # Two conditions on the end, each of which the partial index answers without reading what has ended.
            not_ended = (ClientSecret.ends_at.is_(None), ClientSecret.ends_at > utc_now())
            secrets = [exists().where(ClientSecret.legacy_scheme, condition) for condition in not_ended]
            with read_session(self._engine) as session:
                found = session.scalar(select(or_(*secrets, exists().where(ResourceServer.legacy_scheme))))
            self._exist = bool(found)
            self._check_at = time.monotonic() + CHECK_EVERY_SECONDS
        return self._exist
