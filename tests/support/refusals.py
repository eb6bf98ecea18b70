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


def make_refusals(secret: str, other: str, wrong: str) -> dict[str, tuple[AuthenticationFailure, Arrange, str]]:
    """Return for each cause the recorded reason, how to arrange it, and the secret to send.

    :param secret: the secret with which the client was made.
    :param other: a second secret of the client, where the cause needs one.
    :param wrong: a secret that is none of the client's.
    """
    reasons = AuthenticationFailure
    elsewhere = (AllowedNetwork("198.51.100.0/24", ""),)
    return {
        "unknown": (reasons.UNKNOWN, lambda e, c: change_client(e.engine, c, client_id=f"moved-{c.client_id}"), secret),
        "wrong secret": (reasons.WRONG_SECRET, lambda _e, _c: None, wrong),
        "wrong letter case": (reasons.WRONG_SECRET, lambda _e, _c: None, secret.upper()),
        "ended secret": (reasons.ENDED_SECRET, lambda e, c: change_secret(e.engine, c, ends_at=NOW), secret),
        "paused secret": (reasons.PAUSED_SECRET, lambda e, c: change_secret(e.engine, c, paused_at=NOW), secret),
        "two live secrets, neither": (reasons.WRONG_SECRET, lambda e, c: add_secret(e.engine, c, other), wrong),
        "ended beside a live one": (
            reasons.ENDED_SECRET,
            lambda e, c: add_secret(e.engine, c, other, ends_at=NOW),
            other,
        ),
        "disabled": (reasons.DISABLED, lambda e, c: change_client(e.engine, c, enabled=False), secret),
        "deleted": (reasons.DELETED, lambda e, c: change_client(e.engine, c, deleted_at=NOW), secret),
        "account off": (reasons.ACCOUNT_OFF, lambda e, _c: make_account(e.engine, feature_enabled=False), secret),
        "address not allowed": (
            reasons.ADDRESS_NOT_ALLOWED,
            lambda e, c: change_client(e.engine, c, allowed_networks=elsewhere),
            secret,
        ),
        "disabled, wrong secret": (reasons.WRONG_SECRET, lambda e, c: change_client(e.engine, c, enabled=False), wrong),
    }


REFUSALS = make_refusals(SECRET, OTHER_SECRET, "a-wrong-secret")
"""The refusals of secrets that a person chose."""
# Constants, since the workers of a run must collect the same tests.
GENERATED_SECRET = "vcs_gdgjzdVZFujsflC2BrvyNVjxlH-dpe74MT_72irgPMbt2zZQta"
OTHER_GENERATED_SECRET = "vcs_myLJ7FvgxAZMMIWSl1o_5k_7OmnWT3zm1pCubNlyFV6Y3gkgSZ"
WRONG_GENERATED_SECRET = "vcs_PAMinYjkp8j4Clcs6-zNr5vAernK0yjuXKaRyLnqi8IS07Oyn6"
GENERATED_REFUSALS = {
    cause: refusal
    for cause, refusal in make_refusals(GENERATED_SECRET, OTHER_GENERATED_SECRET, WRONG_GENERATED_SECRET).items()
    if cause != "wrong letter case"  # which has not the form of a generated secret
}
"""The refusals of generated secrets."""
