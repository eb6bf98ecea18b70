"""The page of one client."""

from dataclasses import replace
from datetime import UTC, datetime

import time_machine

from tests.support.factories import SECRET, make_client
from tests.support.host import NORTHWIND, Host


def test_what_the_page_shows(host: Host) -> None:
    """Configuration, status, created and updated (when, by whom; local time with zone, UTC in the markup)."""
    with time_machine.travel(datetime(2026, 7, 4, 8, 12, tzinfo=UTC), tick=False):
        client = make_client(
            host.engine,
            client_id="acme-claims-prod",
            name="Acme claims payouts",
            description="Pays Acme claims.\nAsk: claims@northwind.example",
            token_duration=45,
            roles={"MerchantUser", "CreatePayment"},
        )
    text = host.get(f"/{client.id}").text
    for words in (
        "acme-claims-prod",
        "Acme claims payouts",
        "Pays Acme claims.\nAsk: claims@northwind.example",
        "45 minutes",
        "API access",
        "Create single payments",
        "Moves money",
        "Enabled",
        '<time datetime="2026-07-04T08:12:00Z">4 July 2026, 09:12 BST</time> by admin@northwind.example',
    ):
        assert words in text
    assert SECRET not in text
    assert "argon2" not in text


def test_how_to_ask_for_a_token(host: Host) -> None:
    """How to request a token; the secret stays a placeholder."""
    client = make_client(host.engine, client_id="it's-acme", roles={"CreatePayment"})
    text = host.get(f"/{client.id}").text
    assert "curl https://identity.example/connect/token" in text
    assert "client_secret=$VITESSE_CLIENT_SECRET" in text
    assert "payment-requests stored-recipients" in text
    assert "nobody can view it after it was set" in text


def test_a_role_that_the_account_no_longer_holds_is_marked(host: Host) -> None:
    """The next token lacks it, and the page says so (A4)."""
    client = make_client(host.engine, roles={"MerchantUser", "CreatePayment"})
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser"}))
    text = host.get(f"/{client.id}").text
    assert text.count("No longer held by your account") == 1
    assert "payment-requests" not in text


def test_the_fragment_that_refreshes_itself(host: Host) -> None:
    """The page behind a dialog is updated in place."""
    client = make_client(host.engine)
    fragment = host.get(f"/{client.id}", htmx=True).text
    assert 'id="ic-details"' in fragment
    assert "<html" not in fragment
    assert "Saved." not in host.get(f"/{client.id}?done=nonsense").text
    assert "Saved." in host.get(f"/{client.id}?done=edited").text
