"""Every reason for which a client is refused, and how to arrange it."""

from collections.abc import Callable
from datetime import UTC, datetime

from tests.support.endpoint import (
    Endpoint,
    add_secret,
    change_client,
    change_secret,
)
from tests.support.factories import SECRET, make_account
from webapp.core.addresses import AllowedNetwork
from webapp.core.database.models import IdentityClient
from webapp.core.database.outcomes import AuthenticationFailure

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OTHER_SECRET = "another-secret-of-the-client"


Arrange = Callable[[Endpoint, IdentityClient], None]


REFUSALS: dict[str, tuple[AuthenticationFailure, Arrange, str]] = {
    "unknown": (AuthenticationFailure.UNKNOWN, lambda e, c: change_client(e.engine, c, client_id="moved-away"), SECRET),
    "wrong secret": (AuthenticationFailure.WRONG_SECRET, lambda _e, _c: None, "a-wrong-secret"),
    "wrong letter case": (AuthenticationFailure.WRONG_SECRET, lambda _e, _c: None, SECRET.upper()),
    "ended secret": (AuthenticationFailure.ENDED_SECRET, lambda e, c: change_secret(e.engine, c, ends_at=NOW), SECRET),
    "paused secret": (
        AuthenticationFailure.PAUSED_SECRET,
        lambda e, c: change_secret(e.engine, c, paused_at=NOW),
        SECRET,
    ),
    "two live secrets, neither": (
        AuthenticationFailure.WRONG_SECRET,
        lambda e, c: add_secret(e.engine, c, OTHER_SECRET),
        "a-wrong-one",
    ),
    "ended beside a live one": (
        AuthenticationFailure.ENDED_SECRET,
        lambda e, c: add_secret(e.engine, c, OTHER_SECRET, ends_at=NOW),
        OTHER_SECRET,
    ),
    "disabled": (AuthenticationFailure.DISABLED, lambda e, c: change_client(e.engine, c, enabled=False), SECRET),
    "deleted": (AuthenticationFailure.DELETED, lambda e, c: change_client(e.engine, c, deleted_at=NOW), SECRET),
    "account off": (
        AuthenticationFailure.ACCOUNT_OFF,
        lambda e, _c: make_account(e.engine, feature_enabled=False),
        SECRET,
    ),
    "address not allowed": (
        AuthenticationFailure.ADDRESS_NOT_ALLOWED,
        lambda e, c: change_client(e.engine, c, allowed_networks=(AllowedNetwork("198.51.100.0/24", ""),)),
        SECRET,
    ),
    "disabled, wrong secret": (
        AuthenticationFailure.WRONG_SECRET,
        lambda e, c: change_client(e.engine, c, enabled=False),
        "a-wrong-secret",
    ),
}
