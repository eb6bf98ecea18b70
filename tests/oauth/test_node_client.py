"""An independent client in JavaScript against the live server: oauth4webapi, with Node."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support import servers
from tests.support.endpoint import add_api
from tests.support.factories import SECRET, make_client
from webapp.core.database.engine import make_engine

SCRIPT = servers.ROOT / "tests" / "oauth" / "node" / "client.mjs"
LIBRARIES = servers.ROOT / ".venv" / "node"
NODE_LEAST = 20
AUDIENCE = "https://api.mas.example"
AWKWARD_SECRET = "a+b%c:d e&f=g/?"


@pytest.fixture(scope="module")
def node() -> str:
    """Return the program, or say what is missing."""
    program = shutil.which("node")
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout if program else ""
    number = re.match(r"v(\d+)", version)
    if not program or not number or int(number[1]) < NODE_LEAST:
        pytest.skip(f"Node.js {NODE_LEAST} or later is not installed: the client oauth4webapi is not tried.")
    if not (LIBRARIES / "node_modules" / "oauth4webapi").is_dir():
        pytest.fail("oauth4webapi is not installed. Run: make test", pytrace=False)
    return program


@pytest.fixture
def engine(live_server: servers.LiveServer) -> Iterator[Engine]:
    """Return an engine of ours on the server's database."""
    engine = make_engine(live_server.database_url)
    yield engine
    engine.dispose()


def test_oauth4webapi_gets_along(node: str, live_server: servers.LiveServer, engine: Engine) -> None:
    """Discovery, client credentials by both methods, introspection, revocation, JWT access-token validation.

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
    done = subprocess.run(
        [node, str(SCRIPT), json.dumps(task)], cwd=LIBRARIES, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
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
