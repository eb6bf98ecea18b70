"""Until when the last token of a client may be valid, as the screens say it."""

from datetime import UTC, datetime, timedelta

import pytest

from webapp.core.database.models import IdentityClient
from webapp.core.tokens.revocation import last_token_ends_at

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("last_token", "edited", "ends"),
    [
        (None, 600 * MINUTE, None),
        (0 * MINUTE, 600 * MINUTE, 10 * MINUTE),
        (5 * MINUTE, 600 * MINUTE, 6 * MINUTE),
        (10 * MINUTE, 600 * MINUTE, MINUTE),
        (11 * MINUTE, 600 * MINUTE, None),
        (11 * MINUTE, 60 * MINUTE, None),
        (11 * MINUTE, 59 * MINUTE, 50 * MINUTE),
        (60 * MINUTE, 59 * MINUTE, MINUTE),
        (61 * MINUTE, 59 * MINUTE, None),
    ],
)
def test_when_the_last_token_ends(last_token: timedelta | None, edited: timedelta, ends: timedelta | None) -> None:
    """With a duration of 10 minutes now, and up to 60 before an edit; a token is recorded to the minute.

    :param last_token: how long ago the last token was issued.
    :param edited: how long ago the client was changed.
    :param ends: in how much time the last token expires, None if it has.
    """
    client = IdentityClient(token_duration_minutes=10, updated_at=NOW - edited)
    client.last_token_at = None if last_token is None else NOW - last_token
    found = last_token_ends_at(client, NOW)
    assert (None if found is None else found - NOW) == ends
