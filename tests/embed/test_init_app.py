"""The settings and routes that `init_app` refuses, and the connections of an application that is dropped."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest
import redis
from flask import Flask
from flask_wtf import CSRFProtect
from sqlalchemy import Engine, func, select, text

from tests.support.embedding import TOKEN, embed
from tests.support.endpoint import settings
from tests.support.factories import make_client
from tests.support.host import NORTHWIND, PREFIX
from webapp import IdentityClients, SettingsError
from webapp.core.database.engine import make_engine
from webapp.core.database.models import TokenRequest


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    engine = make_engine(sqlite_url)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "value"),
    [("PLATFORM_NAME", "Quayside"), ("TRUSTED_PROXIES", 1), ("ISSUER", "https://other.example"), ("UNKNOWN", "x")],
)
def test_a_setting_made_after_init_app_is_refused_by_name(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture, name: str, value: object
) -> None:
    """By screens, endpoint and commands, and never by the host's own pages (E6)."""
    app = embed(Flask("host"), sqlite_engine)
    app.add_url_rule("/own", "own", lambda: "own")
    browser = app.test_client()
    assert browser.get(PREFIX).status_code == 200
    setting = f"IDENTITY_CLIENTS_{name}"
    before = app.config.get(setting)
    app.config[setting] = value
    for response in (
        browser.get(PREFIX),
        browser.post("/connect/token", base_url="https://localhost", data=TOKEN),
        browser.get("/.well-known/jwks.json", base_url="https://localhost"),
    ):
        assert response.status_code == 500
    assert caplog.text.count(f"{setting} was changed after init_app") >= 3
    command = app.test_cli_runner().invoke(args=["identity-clients", "keys", "list"])
    assert setting in str(command.exception)
    assert browser.get("/own").text == "own"
    if before is None:
        del app.config[setting]
    else:
        app.config[setting] = before
    assert browser.get(PREFIX).status_code == 200


# URLs that the host uses too

TAKEN = [
    ("/connect/token", "ENDPOINT_PREFIX"),
    ("/connect/introspect/", "ENDPOINT_PREFIX"),
    ("/.well-known/jwks.json", "host name of its own"),
    (PREFIX, "URL_PREFIX"),
    (f"{PREFIX}/new/", "URL_PREFIX"),
]


@pytest.mark.parametrize(("path", "advice"), TAKEN)
def test_a_route_of_the_host_with_a_url_of_ours_stops_the_start(sqlite_engine: Engine, path: str, advice: str) -> None:
    app = Flask("host")
    app.add_url_rule(path, "own", lambda: "own", methods=["GET"])
    with pytest.raises(SettingsError, match=rf"{path} too, of its endpoint own\..*{advice}"):
        embed(app, sqlite_engine)


@pytest.mark.parametrize(("path", "advice"), TAKEN)
def test_a_route_that_is_added_later_is_refused_at_the_first_request(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture, path: str, advice: str
) -> None:
    app = embed(Flask("host"), sqlite_engine)
    app.add_url_rule(path, "own", lambda: "own", methods=["GET", "POST"])
    browser = app.test_client()
    for _ in range(2):
        assert browser.get(f"{PREFIX}/activity").status_code == 500
        assert browser.post("/connect/revocation", base_url="https://localhost").status_code == 500
    assert caplog.text.count(advice) >= 4


def test_routes_beside_ours_are_accepted(sqlite_engine: Engine) -> None:
    """Other paths below the same prefixes, and rules that match everything."""
    app = Flask("host")
    for path in ("/connect/authorize", "/connect/token/info", "/<path:anything>", f"{PREFIX}-of-old"):
        app.add_url_rule(path, path, lambda **_: "own", methods=["GET", "POST"])
    browser = embed(app, sqlite_engine).test_client()
    assert browser.get("/connect/authorize").text == "own"
    assert browser.get(PREFIX).status_code == 200
    assert browser.post("/connect/token", base_url="https://localhost").get_json()["error"] == "invalid_request"


def test_another_prefix_of_the_endpoint(sqlite_engine: Engine) -> None:
    """The host keeps its own /connect/token; routes, metadata and screens use the setting (P13, E1)."""
    app = Flask("host")
    app.add_url_rule("/connect/token", "own", lambda: "own", methods=["POST"])
    client = make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    CSRFProtect(app)
    browser = embed(app, sqlite_engine, endpoint_prefix="/machines/v1").test_client()
    issuer = app.config["IDENTITY_CLIENTS_ISSUER"]
    metadata = browser.get("/.well-known/oauth-authorization-server").get_json()
    for name, path in (("token", "token"), ("introspection", "introspect"), ("revocation", "revocation")):
        assert metadata[f"{name}_endpoint"] == f"{issuer}/machines/v1/{path}"
    response = browser.post("/machines/v1/token", base_url="https://localhost", data=TOKEN)
    assert response.status_code == 200
    form = TOKEN | {"token": response.get_json()["access_token"]}
    assert browser.post("/machines/v1/introspect", base_url="https://localhost", data=form).get_json()["active"] is True
    assert browser.get("/machines/v1/token", base_url="https://localhost").status_code == 405
    assert f"{issuer}/machines/v1/token" in browser.get(f"{PREFIX}/{client.id}").text
    assert browser.post("/connect/introspect", base_url="https://localhost", data=form).status_code in (400, 404)


@pytest.mark.parametrize("prefix", ["", "connect", "/connect/", "/"])
def test_an_invalid_prefix_stops_the_start(sqlite_engine: Engine, prefix: str) -> None:
    with pytest.raises(SettingsError, match="ENDPOINT_PREFIX"):
        embed(Flask("host"), sqlite_engine, endpoint_prefix=prefix)


# An application that is dropped


def _application(url: str, **more: object) -> tuple[IdentityClients, Flask]:
    app = Flask("host")
    app.secret_key = "k" * 32
    app.config.update(settings(DATABASE_URL=url, **more))
    identity_clients = IdentityClients()
    identity_clients.actor_loader(lambda: NORTHWIND)
    identity_clients.init_app(app)
    return identity_clients, app


def _use(app: Flask) -> None:
    """Make each part open its connections: screens, endpoint, rate limits and recorder."""
    browser = app.test_client()
    assert browser.get(PREFIX).status_code == 200
    assert browser.post("/connect/token", base_url="https://localhost", data=TOKEN).status_code == 200
    wrong = TOKEN | {"client_secret": "not this one"}
    assert browser.post("/connect/token", base_url="https://localhost", data=wrong).status_code == 401


def _close(identity_clients: IdentityClients, app: Flask) -> None:
    identity_clients.close(app)


def _drop(_identity_clients: IdentityClients, _app: Flask) -> None:
    pass


@pytest.mark.parametrize("end", [_close, _drop], ids=["closed", "dropped"])
def test_an_application_leaves_no_connection(
    postgresql_url: str,
    postgresql_server: Engine,
    redis_url: str,
    end: Callable[[IdentityClients, Flask], None],
) -> None:
    """As in a host's tests, where each ResourceWarning may be an error."""
    engine = make_engine(postgresql_url)
    make_client(engine, account_id="northwind", client_id="first-client")
    database = engine.url.database
    engine.dispose()
    store = redis.Redis.from_url(redis_url)

    def connections() -> tuple[int, int]:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
        with postgresql_server.connect() as connection:
            return connection.execute(query, {"name": database}).scalar_one(), len(store.client_list())

    def are_closed() -> bool:
        for _ in range(100):
            if all(now <= was for now, was in zip(connections(), before, strict=True)):
                return True
            time.sleep(0.05)  # a server ends a closed connection a little later
        return False

    before = connections()

    identity_clients, app = _application(postgresql_url, THROTTLE_STORAGE_URL=redis_url)
    _use(app)
    assert all(now > was for now, was in zip(connections(), before, strict=True))
    end(identity_clients, app)
    dead = weakref.ref(app)
    if end is _close:
        assert are_closed()
        _use(app)  # opens new connections
        end(identity_clients, app)
    for thread in threading.enumerate():
        if thread.name == "identity-clients-recorder":
            thread.join(10)
    del app, identity_clients
    gc.collect()
    assert dead() is None
    assert are_closed()
    store.close()


def test_closing_writes_queued_records_and_keeps_the_hosts_engine(sqlite_engine: Engine) -> None:
    app = embed(Flask("host"), sqlite_engine)
    make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    _use(app)
    pool = sqlite_engine.pool
    IdentityClients.close(app)
    assert sqlite_engine.pool is pool
    with sqlite_engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(TokenRequest)) == 2


def test_init_app_starts_no_thread(sqlite_url: str) -> None:
    """A server may fork afterwards, or replace threads by greenlets."""
    before = threading.enumerate()
    _application(sqlite_url)
    assert threading.enumerate() == before
