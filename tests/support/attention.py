"""Clients with secrets, request counts and dates for the attention rules."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from tests.support.factories import make_client
from webapp.core.database.models import ClientSecret, IdentityClient, TokenRequestCount
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.usage.counts import RequestCountKey
from webapp.core.usage.refusal_days import update_refusal_days

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
USED = {"created_at": NOON - 500 * DAY, "last_token_at": NOON - DAY, "reviewed_at": NOON - DAY}
YOUNG = {"created_at": NOON - DAY}


def make_client_in_use(
    engine: Engine,
    *secrets: dict[str, Any],
    counts: dict[tuple[int, str], int] | None = None,
    **columns: Any,
) -> IdentityClient:
    """Create a client with these columns and secrets, and request counts by days ago and outcome."""
    with unit_of_work(engine) as session:
        client = make_client(session, **{**USED, **columns})
        [first] = client.secrets
        for label, values in zip("ABC", secrets or ({},), strict=False):
            secret = first if label == "A" else ClientSecret(label=label, client_key=client.id)
            secret.secret_hash, secret.pepper_version = first.secret_hash, first.pepper_version
            secret.created_by = "tests"
            for column, value in {**YOUNG, **values}.items():
                setattr(secret, column, value)
            session.add(secret)
        for (days_ago, outcome), count in (counts or {}).items():
            day = (NOON - days_ago * DAY).date()
            session.add(
                TokenRequestCount(client_key=client.id, day=day, secret_label="A", outcome=outcome, count=count)
            )
            session.flush()
            counted = RequestCountKey(day, client.id, "A", outcome)
            update_refusal_days(session.connection(), [counted], {client.id: client.account_id})
    return client
