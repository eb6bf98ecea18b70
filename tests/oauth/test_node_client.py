"""Independent clients and verifiers in JavaScript against the live server, with Node."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from sqlalchemy import Engine

from tests.support import servers
from tests.support.clocks import wrong_clock
from tests.support.endpoint import add_api
from tests.support.factories import SECRET, make_client
from webapp.core.database.engine import make_engine

SCRIPTS = servers.ROOT / "tests" / "oauth" / "node"
LIBRARIES = servers.ROOT / ".venv" / "node"
NODE_LEAST = 20
AUDIENCE = "https://api.mas.example"
AWKWARD_SECRET = "a+b%c:d e&f=g/?"


@pytest.fixture(scope="module")
def node() -> str:
    """Return the Node program, or fail with the reason."""
    program = shutil.which("node")
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout if program else ""
    number = re.match(r"v(\d+)", version)
    if not program or not number or int(number[1]) < NODE_LEAST:
        pytest.skip(f"Node.js {NODE_LEAST} or later is not installed: the clients in JavaScript are not tried.")
    if not (LIBRARIES / "node_modules" / "openid-client").is_dir():
        pytest.fail("The clients in JavaScript are not installed. Run: make test", pytrace=False)
    return program


def run_node(node: str, script: str, task: dict[str, Any], **environment: str) -> Any:
    """Run a script with what to do, and return what it printed."""
    done = subprocess.run(
        [node, str(SCRIPTS / script), json.dumps(task)],
        cwd=LIBRARIES,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def engine(live_server: servers.LiveServer) -> Iterator[Engine]:
    """Return the product's engine on the server's database."""
    engine = make_engine(live_server.database_url)
    yield engine
    engine.dispose()


def test_oauth4webapi_client(node: str, live_server: servers.LiveServer, engine: Engine) -> None:
    """Use discovery, client credentials, introspection, revocation and JWT validation of oauth4webapi.

    P5: it form-encodes ID and secret for Basic as RFC 6749 section 2.3.1 says, so the awkward secret works too.
    """
    roles = ("MerchantUser", "CreatePayment")
    clients = [
        make_client(engine, account_id="node", roles=roles),
        make_client(engine, account_id="node", roles=roles, client_id='id with % + : "quotes"'),
    ]
    awkward = make_client(engine, account_id="node", roles=roles, secret=AWKWARD_SECRET)
    api_id, api_secret = add_api(engine, "the API of the Node test")
    task = {
        "issuer": live_server.url,
        "audience": AUDIENCE,
        "clients": [{"id": client.client_id, "secret": SECRET} for client in clients]
        + [{"id": awkward.client_id, "secret": AWKWARD_SECRET}],
        "resourceServer": {"id": api_id, "secret": api_secret},
    }
    seen = run_node(node, "client.mjs", task)
    assert seen["server"]["issuer"] == live_server.url
    assert len(seen["runs"]) == 6
    for run in seen["runs"]:
        assert (run["answer"]["expires_in"], run["answer"]["scope"]) == (3600, "API"), run["method"]
        claims = run["claims"]
        assert (claims["client_id"], claims["roles"], claims["aud"]) == (run["client"], list(roles), AUDIENCE)
        repeated = ("scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti")
        expected = {"active": True, "token_type": "Bearer"} | {name: claims[name] for name in repeated}
        assert run["seenByApi"] == run["seenByClient"] == expected
        assert run["afterwards"] == {"active": False}
    assert seen["refusals"]["wrongSecret"]["status"] == 401
    assert seen["refusals"]["foreignToken"] == {
        "name": "ResponseBodyError",
        "status": 400,
        "cause": {"error": "invalid_grant", "error_description": "The token was issued to another client."},
    }


def test_openid_client_discovers_with_default_settings(
    node: str, live_server: servers.LiveServer, engine: Engine
) -> None:
    """Discover the issuer at `/.well-known/openid-configuration`, as versions 5 and 6 do first (T14)."""
    client = make_client(engine, account_id="node")
    task = {"issuer": live_server.url, "id": client.client_id, "secret": SECRET}
    for version, seen in run_node(node, "discover.mjs", task).items():
        assert seen["tokenEndpoint"] == f"{live_server.url}/connect/token", version
        assert (seen["answer"]["token_type"].lower(), "API" in seen["answer"]["scope"]) == ("bearer", True), version


@pytest.mark.parametrize(
    ("offset", "refusing"),
    [("+0s", set()), ("-30s", set()), ("-55s", set()), ("-120s", {"jose", "jsonwebtoken", "oauth4webapi"})],
)
def test_verifiers_with_slow_clocks_accept_a_new_token(
    node: str, live_server: servers.LiveServer, engine: Engine, offset: str, refusing: set[str]
) -> None:
    """Verify with three default set-ups; PyJWT and Authlib also check `iat` and need a leeway (T2)."""
    client = make_client(engine, account_id="node")
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET}
    token = requests.post(f"{live_server.url}/connect/token", data=form, timeout=10).json()["access_token"]
    task = {"issuer": live_server.url, "audience": AUDIENCE, "token": token}
    errors = run_node(node, "verify.mjs", task, **wrong_clock(offset))
    assert len(errors) == 3
    assert {name for name, error in errors.items() if error is not None} == refusing, errors
