"""The end date of a new secret, and the setting that limits how long one works (S8)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import Engine, select

from tests.support.clients import stored
from tests.support.factories import make_account, make_author, make_client, make_clients, make_secrets, make_values
from tests.support.keys import add_key
from tests.support.secrets import NEXT, set_end
from webapp.core.database.models import AuditEvent, IdentityClient
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import FieldError, InvalidFields
from webapp.core.secrets.service import Overlap

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the clock at noon."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def create(engine: Engine, ends_at: datetime | None, max_days: int) -> IdentityClient:
    make_account(engine)
    with unit_of_work(engine) as session:
        return make_clients(make_secrets(max_days=max_days)).create(
            session, author=make_author(), values=make_values(), secret=NEXT, creation_key=None, ends_at=ends_at
        )


def rotate(engine: Engine, ends_at: datetime | None, max_days: int) -> IdentityClient:
    client = make_client(engine)
    with unit_of_work(engine) as session:
        client, _ = make_secrets(max_days=max_days).change(
            session,
            author=make_author(),
            key=client.id,
            version=client.version,
            secret=NEXT,
            overlap=Overlap.DAY,
            ends_at=ends_at,
        )
    return client


CASES: list[tuple[int, datetime | None, datetime | str | None]] = [
    # limit, chosen, stored or an error
    (0, None, None),
    (0, NOON + SECOND, NOON + SECOND),
    (0, NOON + 365 * DAY, NOON + 365 * DAY),
    (0, NOON + 365 * DAY + SECOND, "within 365 days"),
    (0, NOON, "This moment is past"),
    (90, None, NOON + 90 * DAY),
    (90, NOON + 30 * DAY, NOON + 30 * DAY),
    (90, NOON + 90 * DAY, NOON + 90 * DAY),
    (90, NOON + 90 * DAY + SECOND, "must end on 2026-05-30 at the latest"),
]


@pytest.mark.parametrize("act", [create, rotate])
@pytest.mark.parametrize(("max_days", "chosen", "expected"), CASES)
def test_a_new_secret_ends_as_chosen_within_the_limit(
    sqlite_engine: Engine, act: type, max_days: int, chosen: datetime | None, expected: datetime | str | None
) -> None:
    if isinstance(expected, str):
        with pytest.raises((FieldError, InvalidFields)) as refused:
            act(sqlite_engine, chosen, max_days)
        invalid = refused.value
        assert isinstance(invalid, FieldError | InvalidFields)
        assert [(error.field, expected in error.message) for error in invalid.errors] == [("ends_at", True)]
        return
    client = stored(sqlite_engine, act(sqlite_engine, chosen, max_days).id)
    newest = max(client.secrets, key=lambda secret: secret.label)
    assert newest.ends_at == expected
    with read_session(sqlite_engine) as session:
        changes = session.scalars(select(AuditEvent.changes).order_by(AuditEvent.id.desc()).limit(1)).one()
    noted = changes.get("ends_at", [{}, {}])[1].get(newest.label)
    assert noted == (expected.isoformat(timespec="seconds") if expected else None)


@pytest.mark.parametrize(
    ("days", "is_allowed"), [(89, True), (90, True), (91, False), (None, False)], ids=["before", "at", "after", "none"]
)
def test_an_end_date_is_moved_within_the_limit_from_the_creation(
    sqlite_engine: Engine, clock: time_machine.Traveller, days: int | None, is_allowed: bool
) -> None:
    """Of a secret; a key has no such limit."""
    client = create(sqlite_engine, NOON + 40 * DAY, 90)
    add_key(sqlite_engine, client)
    client = stored(sqlite_engine, client.id)
    clock.shift(30 * DAY)
    ends_at = None if days is None else NOON + days * DAY
    options = {"ends_at": ends_at, "confirmed": True, "secret_max_days": 90}
    if is_allowed:
        assert set_end(sqlite_engine, client, "A", **options).secrets[0].ends_at == ends_at
    else:
        with pytest.raises(FieldError, match="at the latest"):
            set_end(sqlite_engine, client, "A", **options)
    set_end(sqlite_engine, stored(sqlite_engine, client.id), "1", **options)


def test_a_generated_secret_in_place_of_a_leaked_one_ends_within_the_limit(sqlite_engine: Engine) -> None:
    client = make_client(sqlite_engine)
    with unit_of_work(sqlite_engine) as session:
        client, _ = make_secrets(max_days=7).replace_leaked(
            session, author=make_author(), key=client.id, version=client.version
        )
    assert stored(sqlite_engine, client.id).secrets[-1].ends_at == NOON + 7 * DAY
