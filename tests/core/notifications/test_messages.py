"""What a message says, of each kind."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.notifications import TEXTS
from webapp.core.database.models import Notification
from webapp.core.notifications.kinds import CHECKPOINT, KIND_LABELS, KINDS, TEST, EventKind

KEY = uuid.UUID(int=1)
AT = "2026-03-04T09:12:00+00:00"
FACTS: dict[str, Any] = {
    "actor": "Priya Nair",
    "at": AT,
    "since": AT,
    "secret": "A",
    "days": 7,
    "refused": 6,
    "requests": 20,
    "roles": [{"key": "UploadBatches", "name": "Upload batches"}],
}


def make_message(kind: str, facts: dict[str, Any], **columns: Any) -> Notification:
    values = {
        "kind": kind,
        "account_id": "northwind",
        "client_key": KEY,
        "client_id": "acme-claims",
        "facts": facts,
        "created_at": datetime(2026, 3, 4, 9, 12, tzinfo=UTC),
    }
    return Notification(**(values | columns))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != CHECKPOINT])
def test_every_kind_has_a_label_an_email_and_a_payload(kind: str) -> None:
    message = make_message(kind, FACTS)
    email = TEXTS.email(message)
    assert kind in KIND_LABELS
    assert "acme-claims" in email.title
    assert kind not in email.title
    assert "None" not in email.as_text()
    assert f"https://mas.example/clients/{KEY}" in email.as_text()
    payload = json.loads(TEXTS.payload(message))
    assert (payload["type"], payload["timestamp"]) == (kind, "2026-03-04T09:12:00Z")
    assert payload["data"]["client"]["client_id"] == "acme-claims"
    assert payload["data"] == {"account_id": "northwind", "client": payload["data"]["client"], **FACTS}


@pytest.mark.parametrize(
    ("kind", "facts", "title", "sentence"),
    [
        (
            EventKind.DELETED,
            FACTS,
            "Identity client acme-claims was deleted",
            "Priya Nair did this on 4 March 2026, 09:12 GMT.",
        ),
        (EventKind.MONEY_ROLE_ADDED, FACTS, "acme-claims was given roles that move money", "Roles: Upload batches."),
        (
            "attention.ending",
            FACTS,
            "A secret of acme-claims ends within 7 days",
            "Secret A ends on 4 March 2026, 09:12 GMT.",
        ),
        ("attention.ending", FACTS | {"days": 1}, "A secret of acme-claims ends within 1 day", "Secret A ends on"),
        ("attention.ending", FACTS | {"secret": "2"}, "A key of acme-claims ends within 7 days", "Key 2 ends on"),
        ("attention.refused", FACTS, "Many token requests of acme-claims are refused", "Of 20 requests"),
        ("a later kind", {}, "acme-claims: a later kind", "an unknown day"),
    ],
)
def test_emails(kind: str, facts: dict[str, Any], title: str, sentence: str) -> None:
    email = TEXTS.email(make_message(kind, facts))
    assert email.title == title
    assert sentence in email.as_text()
    assert sentence in email.as_html()


def test_a_deleted_client_is_linked_by_its_activity() -> None:
    assert TEXTS.email(make_message(EventKind.DELETED, FACTS)).url == f"https://mas.example/clients/{KEY}/activity"


def test_a_test_message_is_about_no_client() -> None:
    message = make_message(TEST, FACTS, client_key=None, client_id=None)
    assert TEXTS.email(message).url == "https://mas.example/clients/notifications"
    assert json.loads(TEXTS.payload(message))["data"]["client"] is None


def test_a_checkpoint_is_about_no_client() -> None:
    """Both forms have the whole signature (L9)."""
    facts = {"at": AT, "position": 7, "hash": "ab", "checkpoint": "e30.e30.c2ln"}
    message = make_message(CHECKPOINT, facts, client_key=None, client_id=None)
    email = TEXTS.email(message)
    assert (email.title, email.link) == ("Checkpoint of the activity, position 7", "Open the activity")
    assert email.url == "https://mas.example/clients/activity"
    assert "\n\ne30.e30.c2ln\n\n" in email.as_text()
    assert json.loads(TEXTS.payload(message))["data"] == {"account_id": "northwind", "client": None, **facts}
