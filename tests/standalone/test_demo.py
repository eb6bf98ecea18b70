"""The demo data of the development mode."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.support.mas import PASSWORD, Mas
from tests.support.servers import serve
from webapp.core.addresses import is_allowed
from webapp.core.clients import attention
from webapp.core.clients.attention import AttentionReason
from webapp.core.database.models import (
    Account,
    AuditEvent,
    ClientKey,
    ClientSecret,
    IdentityClient,
    TokenRequest,
    TokenRequestCount,
    utc_now,
)
from webapp.core.database.unit_of_work import read_session
from webapp.core.errors import FieldError
from webapp.core.usage.queries import LATEST_MAX
from webapp.host import EXTENSION, Services
from webapp.standalone import demo, users
from webapp.standalone.models import MasAccount, MasUser


@pytest.fixture
def services(mas: Mas) -> Services:
    """Return the application's services after the demo data is loaded."""
    found: Services = mas.app.extensions[EXTENSION]
    demo.load(found, PASSWORD)
    return found


def test_accounts_users_and_clients(services: Services) -> None:
    """They are those that the README lists."""
    with read_session(services.engine) as session:
        accounts = {account.id: account for account in session.scalars(select(MasAccount))}
        people = {user.email: (user.account.name, set(user.roles)) for user in session.scalars(select(MasUser))}
        counted = session.execute(select(IdentityClient.account_id, func.count()).group_by(IdentityClient.account_id))
        clients = {accounts[account_id].name: count for account_id, count in counted}
        told = {accounts[known.id].name: known.feature_enabled for known in session.scalars(select(Account))}
    assert people == {
        "admin@northwind.example": ("Northwind Insurance", {"MerchantAdmin"}),
        "manager@northwind.example": ("Northwind Insurance", {"ManageIdentityClients"}),
        "viewer@northwind.example": ("Northwind Insurance", {"MerchantUser"}),
        "admin@harbour.example": ("Harbour Claims", {"MerchantAdmin"}),
        "admin@fable.example": ("Fable Mutual", {"MerchantAdmin"}),
    }
    assert clients == {"Northwind Insurance": 12, "Harbour Claims": 2}
    assert told == {"Northwind Insurance": True, "Harbour Claims": True, "Fable Mutual": False}


def test_the_clients_have_a_history(services: Services) -> None:
    """Created over months, some changed or disabled since, with audit events at those times."""
    with read_session(services.engine) as session:
        clients = session.scalars(select(IdentityClient)).all()
        events = session.scalars(select(AuditEvent).order_by(AuditEvent.at, AuditEvent.id)).all()
        secrets = {(row.client_key, row.label): row for row in session.scalars(select(ClientSecret))}
    now = utc_now()
    for client in clients:
        mine = [event for event in events if event.client_key == client.id]
        assert mine[0].action == "created"
        assert mine[0].at == client.created_at == secrets[client.id, "A"].created_at
        assert now - client.created_at > timedelta(days=4)
        assert len(mine) == client.version
        assert mine[-1].at == client.updated_at < now
        assert (mine[-1].action == "disabled") != client.enabled
        assert [secrets[client.id, "B"].created_at for event in mine if event.action == "secret changed"] == [
            event.at for event in mine if event.action == "secret changed"
        ]
    assert max(now - client.created_at for client in clients) > timedelta(days=365)
    assert 1 <= sum(not client.enabled for client in clients) <= 2
    with read_session(services.engine) as session:
        [key] = session.scalars(select(ClientKey)).all()
    assert timedelta(days=23) < now - key.created_at < timedelta(days=25)
    assert key.last_used_at
    assert now - key.last_used_at < timedelta(days=2)
    assert {event.action for event in events} >= {"created", "edited", "disabled", "secret changed", "networks changed"}
    assert len({event.actor_label for event in events}) > 2


def test_every_reason_for_attention_has_an_example(services: Services) -> None:
    """Each with one client of Northwind, but for the one that needs a setting; six of twelve need no attention."""
    with read_session(services.engine) as session:
        account_id = session.scalars(select(MasAccount.id).where(MasAccount.name == "Northwind Insurance")).one()
        clients = session.scalars(select(IdentityClient).where(IdentityClient.account_id == account_id)).all()
        found = attention.reasons(session, account_id, clients)
    reasons = sorted(reason.reason for those in found.values() for reason in those)
    assert reasons == sorted({*AttentionReason} - {AttentionReason.SECRET})
    assert len(found) == len(reasons)
    [ending] = [those[0] for those in found.values() if those[0].reason is AttentionReason.ENDING]
    assert ending.days == 4


def test_token_requests_of_a_month(services: Services) -> None:
    """Issued and refused ones for several reasons; the kept requests are the latest of the counted ones."""
    now = utc_now()
    with read_session(services.engine) as session:
        counts = session.scalars(select(TokenRequestCount)).all()
        requests = session.scalars(select(TokenRequest)).all()
        clients = {client.id: client for client in session.scalars(select(IdentityClient))}
        secrets = session.scalars(select(ClientSecret)).all()
    assert len({count.day for count in counts if now.date() - count.day < timedelta(days=30)}) >= 29
    outcomes = {count.outcome for count in counts}
    assert outcomes >= {
        "issued",
        "wrong secret",
        "ended secret",
        "disabled",
        "address not allowed",
        "scope not allowed",
    }
    for key, client in clients.items():
        kept = [request for request in requests if request.client_key == key]
        assert len(kept) <= LATEST_MAX
        assert all(request.at <= now for request in kept)
        assert len(kept) == min(LATEST_MAX, sum(count.count for count in counts if count.client_key == key))
        issued = [request.at for request in kept if request.outcome == "issued"]
        assert client.last_token_at is None or not issued or client.last_token_at == max(issued)
        after = [secret.last_used_at for secret in secrets if secret.client_key == key and secret.last_used_at]
        assert bool(after) == (client.last_token_at is not None)
        wrong = [request for request in kept if not client.enabled and request.outcome == "issued"]
        assert all(request.at < client.updated_at for request in wrong)


def test_clients_with_allowed_networks_were_called_from_them(services: Services) -> None:
    """Some clients allow named networks only."""
    with read_session(services.engine) as session:
        rows = session.execute(
            select(IdentityClient.allowed_networks, TokenRequest.address, TokenRequest.outcome).join(
                TokenRequest, TokenRequest.client_key == IdentityClient.id
            )
        ).all()
    bound = [(is_allowed(networks, address), outcome) for networks, address, outcome in rows if networks]
    assert (False, "address not allowed") in bound
    assert all(allowed != (outcome == "address not allowed") for allowed, outcome in bound)


def test_an_invalid_password_loads_nothing(mas: Mas) -> None:
    """The database is left as it was."""
    with pytest.raises(FieldError, match="12 to 128"):
        demo.load(mas.app.extensions[EXTENSION], "too short")
    assert not demo.has_users(mas.engine)


def test_the_first_start_prints_a_password_once_and_the_next_ones_keep_it(tmp_path: Path) -> None:
    """Without DEMO_PASSWORD; later starts neither print it nor load the data again."""
    with serve(tmp_path, DEMO_PASSWORD="") as server:
        written = server.log.read_text()
        password = re.search(r"password (\S{12,})  \(shown this once", written)
        assert password
        assert server.url in written
        assert "admin@northwind.example" in written
        assert '"warning"' not in written
    with serve(tmp_path, DEMO_PASSWORD="") as server:
        assert server.log.read_text().count(password[1]) == 1
        assert "the password of the first start" in server.log.read_text()
    with serve(tmp_path, DEMO_PASSWORD=PASSWORD) as server:
        assert PASSWORD not in server.log.read_text()
    database = tmp_path / "instance" / "live.sqlite3"
    assert database.stat().st_mode & 0o077 == 0


def test_demo_password_replaces_the_former_one(services: Services) -> None:
    """After a lost password another can be set; setting the same one again ends no session."""
    assert demo.set_password(services.engine, "a second long password")
    with read_session(services.engine) as session:
        before = users.find_user(session, demo.DEMO_EMAILS[0])
    assert before
    assert users.is_password(before.password_hash, "a second long password")
    assert demo.set_password(services.engine, "a second long password")
    with read_session(services.engine) as session:
        after = users.find_user(session, demo.DEMO_EMAILS[0])
    assert after
    assert after.session_token == before.session_token
