"""Records of token requests for the account that owns the client (L2, L3, D4, D5)."""

import os
import signal
import time
import uuid
from datetime import UTC, timedelta
from pathlib import Path

import psutil
import pytest
import requests
import time_machine
from sqlalchemy import func, select

from tests.support import servers
from tests.support.endpoint import Endpoint, add_api, add_secret, argon2_computations, statements
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, PEPPER_SETTING, SECRET, make_account, make_client
from tests.support.refusals import NOW, OTHER_SECRET, REFUSALS
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient, TokenRequest, TokenRequestCount
from webapp.core.database.unit_of_work import read_session
from webapp.core.usage import queries, request_log

RecordedRequest = tuple[str, str | None, str | None, str]


def recorded_requests(endpoint: Endpoint, client: IdentityClient, account_id: str = ACCOUNT) -> list[RecordedRequest]:
    """Return outcome, secret, address and scope of a client's latest requests, the newest first."""
    endpoint.services.recorder.write()
    with read_session(endpoint.engine) as session:
        latest = queries.recent_requests(session, account_id, client.id)
        return [(row.outcome, row.secret_label, row.address, row.scope) for row in latest]


@pytest.mark.parametrize("cause", REFUSALS)
def test_refusals_are_recorded_with_their_reason(endpoint: Endpoint, cause: str) -> None:
    """Record reason and matching secret for the merchant; the caller sees the uniform P7 response (L2)."""
    reason, arrange, secret = REFUSALS[cause]
    client = make_client(endpoint.engine)
    arrange(endpoint, client)
    with time_machine.travel(NOW, tick=False):
        assert endpoint.request_token(client.client_id, secret, scope="API", address="192.0.2.7").status_code == 401
    label = None if reason in ("wrong secret", "unknown") else "B" if secret == OTHER_SECRET else "A"
    assert recorded_requests(endpoint, client) == [(reason, label, "192.0.2.7", "API")]
    with read_session(endpoint.engine) as session:
        counts = [
            (row.day, row.secret_label, row.outcome, row.count) for row in session.scalars(select(TokenRequestCount))
        ]
    assert counts == [(NOW.date(), label or "", reason, 1)]


@pytest.mark.parametrize("given", [None, "4bf92f3577b34da64bf92f3577b34da6"])
def test_the_response_carries_the_recorded_request_id(endpoint: Endpoint, given: str | None) -> None:
    """In a host, too, `X-Request-ID` finds the row of the request log (L2)."""
    client = make_client(endpoint.engine)
    headers = {"X-Request-ID": given} if given else {}
    for secret, outcome in ((SECRET, "issued"), ("not a secret of it", "wrong secret")):
        parameters = {"client_id": client.client_id, "client_secret": secret, "grant_type": "client_credentials"}
        response = endpoint.post(parameters, headers=headers)
        request_id = response.headers["X-Request-ID"]
        assert given in (None, request_id)
        endpoint.services.recorder.write()
        with read_session(endpoint.engine) as session:
            query = request_log.RequestQuery(request_id=request_id, outcome=outcome)
            page = request_log.list_requests(session, account_id=ACCOUNT, query=query, zone=UTC)
            assert [row.client_key for row in page.requests] == [client.id]


def test_requested_scope_is_recorded(each_endpoint: Endpoint) -> None:
    """Record known scopes as requested; a request refused for its scope shows its secret as used (L2, L3)."""
    client = make_client(each_endpoint.engine, roles=("MerchantUser",))
    add_secret(each_endpoint.engine, client, OTHER_SECRET)
    asked = [(SECRET, None, 200), (OTHER_SECRET, "API", 200), (SECRET, "Nothing", 400), (OTHER_SECRET, 'a"b\0', 400)]
    with time_machine.travel(NOW, tick=False) as clock:
        for secret, scope, status in asked:
            clock.shift(60)
            assert each_endpoint.request_token(client, secret, scope=scope).status_code == status
        clock.shift(60)
        make_account(each_endpoint.engine, grantable_roles=())
        assert each_endpoint.request_token(client, scope="API").status_code == 400
    assert recorded_requests(each_endpoint, client) == [
        ("no roles left", "A", "127.0.0.1", "API"),
        ("scope malformed", "B", "127.0.0.1", "other"),
        ("scope not allowed", "A", "127.0.0.1", "other"),
        ("issued", "B", "127.0.0.1", "API"),
        ("issued", "A", "127.0.0.1", ""),
    ]
    assert recorded_requests(each_endpoint, client, OTHER_ACCOUNT) == []
    with read_session(each_endpoint.engine) as session:
        use = queries.last_uses(session, ACCOUNT, [client.id])[client.id]
    assert use == (NOW + timedelta(minutes=5), "127.0.0.1", "A")


def test_rate_limited_requests_are_recorded(endpoint: Endpoint) -> None:
    """Record rate-limited requests, whose secret was not checked (L2, D2)."""
    client = make_client(endpoint.engine)
    statuses = [endpoint.request_token(client, "a-wrong-secret", address="192.0.2.7").status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert (
        recorded_requests(endpoint, client)
        == [("throttled", None, "192.0.2.7", "")] * 2 + [("wrong secret", None, "192.0.2.7", "")] * 10
    )


def test_exceeded_quota_is_recorded(endpoint: Endpoint) -> None:
    """Record the refusal with its secret, which was correct and is in use (L2, D5)."""
    limited = Endpoint(endpoint.engine, TOKENS_PER_CLIENT_AND_MINUTE=1)
    client = make_client(endpoint.engine)
    assert [limited.request_token(client).status_code for _ in range(2)] == [200, 429]
    assert [(outcome, label) for outcome, label, *_ in recorded_requests(limited, client)] == [
        ("throttled", "A"),
        ("issued", "A"),
    ]


@pytest.mark.parametrize("secret", [SECRET, "a-wrong-secret"])
def test_only_catalogue_scopes_are_recorded(
    each_endpoint: Endpoint, caplog: pytest.LogCaptureFixture, secret: str
) -> None:
    """Drop unknown scopes, which may be secrets or messages of a third party who knows the ID (L3)."""
    client = make_client(each_endpoint.engine)
    caplog.set_level("DEBUG")
    message = "URGENT: account suspended, call API +44 20 7946 0000 reports:read URGENT:"
    assert each_endpoint.request_token(client, secret, scope=message).status_code in (400, 401)
    assert [scope for *_, scope in recorded_requests(each_endpoint, client)] == ["other API reports:read"]
    assert "URGENT" not in caplog.text
    with each_endpoint.engine.connect() as connection:
        for table in IdentityClient.metadata.sorted_tables:
            assert "URGENT" not in str(connection.execute(select(table)).all())


def test_a_request_id_that_could_be_a_message_is_not_recorded(endpoint: Endpoint) -> None:
    """A third party who knows the ID could write to its owner in `X-Request-ID`, or a caller send a secret (L3)."""
    client = make_client(endpoint.engine)
    message, own = "URGENT-account-suspended-call-020-7946-0000", str(uuid.uuid4())
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": OTHER_SECRET}
    for request_id in (message, own):
        assert endpoint.post(form, headers={"X-Request-ID": request_id}).status_code == 401
    endpoint.services.recorder.write()
    with endpoint.engine.connect() as connection:
        stored = [*connection.scalars(select(TokenRequest.request_id).order_by(TokenRequest.number))]
    assert stored[0] not in (None, "", message)
    assert stored[1] == own


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("northwind-api\n", "white space around client id"),
        (" northwind-api", "white space around client id"),
        ("\tnorthwind-api \r\n", "white space around client id"),
        ("northwind-api\u00a0", "white space around client id"),
        ("NORTHWIND-API", "unknown"),
    ],
)
def test_white_space_around_client_id_is_recorded(each_endpoint: Endpoint, sent: str, reason: str) -> None:
    """Refuse it like an unknown ID (P7), and show the reason on the page of the intended client (S10)."""
    client = make_client(each_endpoint.engine, client_id="northwind-api")
    other = make_client(each_endpoint.engine, client_id="northwind-ap")
    response = each_endpoint.request_token(sent)
    assert (response.status_code, response.json) == (401, {"error": "invalid_client"})
    assert [(outcome, label) for outcome, label, *_ in recorded_requests(each_endpoint, client)] == [(reason, None)]
    assert recorded_requests(each_endpoint, other) == []


def test_secret_sent_as_client_id_is_not_stored(
    each_endpoint: Endpoint, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Keep at most its first four characters in log and database (L3)."""
    make_client(each_endpoint.engine)
    caplog.set_level("DEBUG")
    canary = "vcs_a-secret-that-somebody-pasted-into-the-wrong-field"
    assert each_endpoint.request_token(canary).status_code == 401
    assert each_endpoint.request_token(canary, "x").status_code == 401
    each_endpoint.services.recorder.write()
    assert "Token requests with unknown client IDs: 2, such as vcs_..." in caplog.text
    assert canary[:8] not in caplog.text.replace("vcs_...", "")
    with each_endpoint.engine.connect() as connection:
        for table in IdentityClient.metadata.sorted_tables:
            assert canary[:8] not in str(connection.execute(select(table)).all())
    output = capfd.readouterr()
    assert canary[:8] not in output.out + output.err


def test_introspection_and_revocation_are_not_recorded(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    token = endpoint.token(client)
    endpoint.introspect(token, add_api(endpoint.engine))
    endpoint.introspect(token, client)
    endpoint.revoke(token, client)
    assert len(recorded_requests(endpoint, client)) == 1


def test_recording_adds_no_statement_to_a_request(endpoint: Endpoint) -> None:
    """Record any outcome without an extra statement or hash in the request (P8)."""
    client = make_client(endpoint.engine)
    endpoint.request_token(client)
    with statements(endpoint.engine) as seen, argon2_computations() as hashed:
        endpoint.request_token(client)
        endpoint.request_token(client, scope="Nothing")
        endpoint.request_token("nobody-has-this")
    assert len(seen) == 3
    assert all(statement.startswith("SELECT") for statement in seen)
    assert len(hashed) == 2


# The server as a process


def counted(database_url: str) -> tuple[int, int]:
    """Return how many tokens are counted, and how many requests are kept."""
    engine = make_engine(database_url)
    with read_session(engine) as session:
        issued = select(func.sum(TokenRequestCount.count)).where(TokenRequestCount.outcome == "issued")
        counts = session.scalar(issued) or 0, session.scalar(select(func.count()).select_from(TokenRequest)) or 0
    engine.dispose()
    return counts


def client_of(database_url: str) -> str:
    """Make a client; return its ID."""
    engine = make_engine(database_url)
    client_id = make_client(engine, account_id="the-live-account").client_id
    engine.dispose()
    return client_id


def get_token(server: servers.LiveServer, client_id: str) -> None:
    """Get a token on a connection of its own."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
    assert requests.post(f"{server.url}/connect/token", form, timeout=20).status_code == 200


@pytest.mark.parametrize("database", ["sqlite_url", "postgresql_url"])
def test_sigterm_loses_no_record(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> None:
    """Write all records of two processes after SIGTERM right after the last token (L2)."""
    url = request.getfixturevalue(database)
    with servers.serve(
        tmp_path,
        IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING,
        IDENTITY_CLIENTS_DATABASE_URL=url,
        WEB_CONCURRENCY="2",
    ) as server:
        client_id = client_of(url)
        before = counted(url)
        for _ in range(30):
            get_token(server, client_id)
    after = counted(url)
    assert (after[0] - before[0], after[1] - before[1]) == (30, 30)


def test_crash_loses_at_most_one_second(tmp_path: Path) -> None:
    """Keep the token of two seconds before all processes were killed (L2)."""
    with servers.serve(tmp_path, IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING) as server:
        client_id = client_of(server.database_url)
        before = counted(server.database_url)[0]
        get_token(server, client_id)
        time.sleep(2)
        get_token(server, client_id)
        for process in psutil.Process().children(recursive=True):
            if str(tmp_path) in process.environ().get("INSTANCE_PATH", ""):
                os.kill(process.pid, signal.SIGKILL)
    assert counted(server.database_url)[0] - before in (1, 2)
