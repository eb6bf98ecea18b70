"""Revoke tokens, by itself and together with Disable."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.support.factories import make_client
from tests.support.host import NORTHWIND, Host
from tests.support.markup import read
from tests.support.screens import actions, stored
from webapp.core.database.models import IdentityClient

NOW = datetime(2026, 11, 23, 10, 45, tzinfo=UTC)


@pytest.fixture(autouse=True)
def now() -> Iterator[None]:
    """Stop the clock."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client(host: Host) -> IdentityClient:
    return make_client(host.engine, client_id="acme-claims-prod", token_duration=30, updated_at=NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(0), "others accept them until 11:15 GMT"),
        (timedelta(minutes=10, seconds=30), "others accept them until 11:05 GMT"),
        (timedelta(minutes=29), "others accept them until 10:47 GMT"),
        (timedelta(minutes=31), "As far as we know no token of it is still valid."),
        (None, "As far as we know no token of it is still valid."),
    ],
)
def test_it_shows_how_long_apis_without_introspection_accept_a_token(
    host: Host, ago: timedelta | None, words: str
) -> None:
    """SECURITY.md leaves this to the screens. The last token is known to the minute."""
    client = make_client(
        host.engine,
        token_duration=30,
        updated_at=NOW - timedelta(days=1),
        last_token_at=None if ago is None else NOW - ago,
    )
    assert words in read(host.get(f"/{client.id}/revoke-tokens")).text


def test_revoke(host: Host, client: IdentityClient, htmx: bool) -> None:
    """The tokens become inactive; the client and its version stay unchanged (T13)."""
    form = read(host.get(f"/{client.id}/revoke-tokens")).form()
    answer = host.post(f"/{client.id}/revoke-tokens", form, htmx=htmx, token=False)
    if htmx:
        assert "Tokens revoked." in answer.text
        assert answer.headers["HX-Trigger"] == "ic-changed"
    else:
        assert (answer.status_code, answer.location.endswith("?done=tokens-revoked")) == (303, True)
    after = stored(host, client)
    assert (after.token_generation, after.version, after.enabled) == (1, client.version, True)
    assert actions(host, client) == ["created", "tokens revoked"]


def test_without_token_or_long_after_sign_in_nothing_is_revoked(host: Host, client: IdentityClient, htmx: bool) -> None:
    """A CSRF token and a recent sign-in are required (W8, W5)."""
    assert host.post(f"/{client.id}/revoke-tokens", {"version": 1}, htmx=htmx, token=False).status_code == 422
    form = read(host.get(f"/{client.id}/revoke-tokens")).form()
    host.actor = replace(NORTHWIND, signed_in_at=NOW - timedelta(minutes=30, seconds=1))
    answer = host.post(f"/{client.id}/revoke-tokens", form, htmx=htmx, token=False)
    assert answer.status_code == 401
    assert "ign in in a new tab" in answer.text
    assert stored(host, client).token_generation == 0


def test_disable_revokes_tokens_if_requested(host: Host, client: IdentityClient, htmx: bool) -> None:
    """By a check box, which is not preselected (T13)."""
    form = read(host.get(f"/{client.id}/disable")).form()
    assert "revoke" not in form, "preselected"
    host.post(f"/{client.id}/disable", form | {"revoke": "on"}, htmx=htmx, token=False)
    after = stored(host, client)
    assert (after.enabled, after.token_generation) == (False, 1)
    assert actions(host, client) == ["created", "disabled", "tokens revoked"]


@pytest.mark.parametrize("revoke", [True, False])
def test_disable_needs_a_recent_sign_in_only_to_revoke(
    host: Host, client: IdentityClient, htmx: bool, revoke: bool
) -> None:
    """Disabling alone is possible at any time (W5)."""
    form = read(host.get(f"/{client.id}/disable")).form(**({"revoke": "on"} if revoke else {}))
    host.actor = replace(NORTHWIND, signed_in_at=NOW - timedelta(minutes=30, seconds=1))
    answer = host.post(f"/{client.id}/disable", form, htmx=htmx, token=False)
    assert answer.status_code == (401 if revoke else 200 if htmx else 303)
    assert stored(host, client).enabled is revoke
    if revoke and not htmx:
        assert "checked" in read(answer).inputs["revoke"]
