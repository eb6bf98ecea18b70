"""Record token requests, and read the records."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Engine, select

from tests.support.factories import ACCOUNT
from webapp.core.database.models import IdentityClient, TokenRequest, TokenRequestCount
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.core.database.unit_of_work import read_session
from webapp.core.usage import queries
from webapp.core.usage.recorder import Recorder

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADDRESS, OTHER_ADDRESS = "192.0.2.1", "2001:db8::1"
CANARY = "hunter2-pasted-where-the-id-belongs"


def record(
    recorder: Recorder,
    client: IdentityClient | None,
    outcome: Outcome | AuthenticationFailure = Outcome.ISSUED,
    label: str | None = "A",
    at: datetime = NOON,
    **overrides: Any,
) -> None:
    """Record a token request."""
    values = {"client_id": client.client_id if client else CANARY, "address": ADDRESS, "scope": ""}
    recorder.record(client.id if client else None, outcome, label, at=at, **(values | overrides))


def counts(engine: Engine, client: IdentityClient) -> dict[tuple[date, str, str], int]:
    """Return all counts of a client."""
    with read_session(engine) as session:
        rows = session.scalars(select(TokenRequestCount).where(TokenRequestCount.client_key == client.id))
        return {(row.day, row.secret_label, row.outcome): row.count for row in rows}


def recent(engine: Engine, client: IdentityClient, account_id: str = ACCOUNT) -> list[TokenRequest]:
    """Return the requests that a client's page shows."""
    with read_session(engine) as session:
        return list(queries.recent_requests(session, account_id, client.id))


def last_used(engine: Engine, client: IdentityClient) -> tuple[datetime, str | None, str] | None:
    """Return the last use of a client."""
    with read_session(engine) as session:
        return queries.last_uses(session, ACCOUNT, [client.id]).get(client.id)


def callers(engine: Engine, client: IdentityClient, account_id: str = ACCOUNT) -> dict[str, datetime]:
    """Return the addresses from which a client is known to call."""
    with read_session(engine) as session:
        return dict(queries.caller_addresses(session, account_id, client.id))
