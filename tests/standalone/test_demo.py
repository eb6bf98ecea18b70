"""The demo data of the development mode."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from webapp.core.database import reading
from webapp.core.errors import FieldError
from webapp.core.models import Account, ClientSecret, Event, IdentityClient, utc_now
from webapp.host import EXTENSION, Services
from webapp.standalone import demo, users
from webapp.standalone.models import MasAccount, MasUser

from ..servers import serve
from .conftest import PASSWORD, Mas


@pytest.fixture
def services(mas: Mas) -> Services:
    """Return the application's services, with the demo data loaded."""
    found: Services = mas.app.extensions[EXTENSION]
    demo.load(found, PASSWORD)
    return found


def test_accounts_users_and_clients(services: Services) -> None:
    """As the README tells them."""
    with reading(services.engine) as session:
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


def test_the_clients_have_a_past(services: Services) -> None:
    """Made over months, some disabled since, each with its events at those times."""
    with reading(services.engine) as session:
        clients = session.scalars(select(IdentityClient)).all()
        events = session.execute(select(Event.client_key, Event.action, Event.at)).all()
        secrets = {secret.client_key: secret.created_at for secret in session.scalars(select(ClientSecret))}
    now = utc_now()
    for client in clients:
        mine = {action: at for key, action, at in events if key == client.id}
        assert mine["created"] == client.created_at == secrets[client.id]
        assert now - client.created_at > timedelta(days=4)
        assert ("disabled" in mine) != client.enabled
        assert client.updated_at == mine.get("disabled", client.created_at)
    assert max(now - client.created_at for client in clients) > timedelta(days=180)
    assert 1 <= sum(not client.enabled for client in clients) <= 2


def test_all_or_nothing(mas: Mas) -> None:
    """A password that may be none leaves the database as it was."""
    with pytest.raises(FieldError, match="12 to 128"):
        demo.load(mas.app.extensions[EXTENSION], "too short")
    assert not demo.has_users(mas.engine)


def test_the_first_start_prints_a_password_once_and_the_next_ones_keep_it(tmp_path: Path) -> None:
    """Without DEMO_PASSWORD one is made; later starts neither print it nor load anything again."""
    with serve(tmp_path, DEMO_PASSWORD="") as server:
        written = server.log.read_text()
        password = re.search(r"password (\S{12,})  \(shown this once", written)
        assert password
        assert server.url in written
        assert "admin@northwind.example" in written
    with serve(tmp_path, DEMO_PASSWORD="") as server:
        assert server.log.read_text().count(password[1]) == 1
        assert "the password of the first start" in server.log.read_text()
    with serve(tmp_path, DEMO_PASSWORD=PASSWORD) as server:
        assert PASSWORD not in server.log.read_text()
    database = tmp_path / "instance" / "live.sqlite3"
    assert database.stat().st_mode & 0o077 == 0


def test_demo_password_replaces_the_former_one(services: Services) -> None:
    """A person who lost the password sets another; the same one again ends no session."""
    assert demo.set_password(services.engine, "a second long password")
    with reading(services.engine) as session:
        before = users.find_user(session, demo.DEMO_EMAILS[0])
    assert before
    assert users.is_password(before.password_hash, "a second long password")
    assert demo.set_password(services.engine, "a second long password")
    with reading(services.engine) as session:
        after = users.find_user(session, demo.DEMO_EMAILS[0])
    assert after
    assert after.session_token == before.session_token
