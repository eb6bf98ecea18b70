"""Audit events of every kind that a client and an account can have."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert

from tests.support.factories import ACCOUNT
from webapp.core.audit.actions import Action, RefusalReason
from webapp.core.database.models import AuditEvent, IdentityClient, new_id, utc_now
from webapp.core.database.unit_of_work import unit_of_work

EVENT_HISTORY: tuple[tuple[int, str, Action, dict[str, Any]], ...] = (
    (
        264,
        "Hannah Okafor",
        Action.CREATED,
        {
            "client_id": [None, "claims"],
            "name": [None, "Claims payments"],
            "description": [None, ""],
            "roles": [None, ["CreatePayment", "MerchantUser"]],
            "token_duration_minutes": [None, 30],
            "enabled": [None, True],
            "client_secret": [None, {"A": "current"}],
            "copied_from": [None, "claims-payments-test"],
        },
    ),
    (
        102,
        "Tom Reilly",
        Action.EDITED,
        {"roles": [["CreatePayment", "MerchantUser"], ["MerchantUser", "UploadBatches"]]},
    ),
    (90, "Priya Nair", Action.END_DATE_SET, {"client_secret": [{"A": "current"}, {"A": "current"}]}),
    (60, "Priya Nair", Action.TOKENS_REVOKED, {}),
    (50, "Priya Nair", Action.DISABLED, {"enabled": [True, False]}),
    (49, "Hannah Okafor", Action.ENABLED, {"enabled": [False, True]}),
    (
        40,
        "Priya Nair",
        Action.NETWORKS_CHANGED,
        {"allowed_networks": [["198.51.100.0/24"], ["203.0.113.0/28 London data centre", "2001:db8:40::/48"]]},
    ),
    (
        30,
        "Hannah Okafor",
        Action.SECRET_CHANGED,
        {
            "client_secret": [{"A": "current"}, {"A": "ending", "B": "current"}],
            "ends_at": [{"A": None}, {"A": "2026-11-27T10:45:00+00:00"}],
        },
    ),
    (29, "Hannah Okafor", Action.SECRET_PAUSED, {"client_secret": [{"A": "ending"}, {"A": "paused"}]}),
    (28, "Hannah Okafor", Action.SECRET_RESUMED, {"client_secret": [{"A": "paused"}, {"A": "ending"}]}),
    (
        27,
        "Hannah Okafor",
        Action.SECRET_ENDED,
        {"client_secret": [{"A": "ending"}, {"A": "ended"}], "reason": [None, "leaked"]},
    ),
    (3, "Tom Reilly", Action.REFUSED, {"refusal": [None, RefusalReason.FORBIDDEN], "attempt": [None, "disable"]}),
    (2, "Priya Nair", Action.REFUSED, {"refusal": [None, RefusalReason.STALE_VERSION], "attempt": [None, "edit"]}),
    (1, "Hannah Okafor", Action.EXPORTED, {"filters": [None, {"action": "edited", "since": "2026-03-01"}]}),
    (
        1,
        "Priya Nair",
        Action.EDITED,
        {
            "name": ["", "Claims payments"],
            "description": ["Pays claims.", "Pays settled claims.\nOwner: claims-platform"],
            "token_duration_minutes": [30, 60],
            "roles": [["MerchantUser", "UploadBatches"], ["AccountViewer", "MerchantUser"]],
        },
    ),
    (0, "Priya Nair", Action.EDITED, {"token_duration_minutes": [60, 30]}),
)
"""Days ago, actor, action and changes."""


def add_event_history(engine: Engine, client: IdentityClient) -> None:
    """Add `EVENT_HISTORY` to a client's audit log."""
    now = utc_now()
    rows = [
        {
            "id": new_id(),
            "at": now - timedelta(days=days_ago, seconds=len(EVENT_HISTORY) - number),
            "account_id": client.account_id,
            "actor_id": actor,
            "actor_label": actor,
            "action": action.value,
            "client_key": client.id,
            "client_id": client.client_id,
            "changes": changes,
            "address": "203.0.113.7",
            "request_id": "9f1c3b7a5d2e4f60",
        }
        for number, (days_ago, actor, action, changes) in enumerate(EVENT_HISTORY)
    ]
    with unit_of_work(engine) as session:
        session.execute(insert(AuditEvent), rows)


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def add_events(engine: Engine, *rows: dict[str, Any]) -> None:
    """Insert events by one statement."""
    given = {
        "at": NOON,
        "account_id": ACCOUNT,
        "actor_id": "42",
        "actor_label": "Hannah Okafor",
        "action": "edited",
        "client_key": None,
        "client_id": None,
        "changes": {},
        "address": None,
        "request_id": None,
    }
    with unit_of_work(engine) as session:
        session.execute(insert(AuditEvent), [{"id": new_id(), **given, **row} for row in rows])
