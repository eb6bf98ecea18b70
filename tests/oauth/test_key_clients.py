"""`private_key_jwt` of independent client libraries against the live server, and the snippets of the screens (S11)."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey, OKPKey, RSAKey
from jwskate import Jwk
from requests_oauth2client import OAuth2Client
from requests_oauth2client import PrivateKeyJwt as PrivateKeyJwtOfRequestsOAuth2Client
from sqlalchemy import Engine, select

from tests.oauth.test_node_client import LIBRARIES, node, run_node
from tests.support import servers
from tests.support.factories import make_client
from tests.support.host import make_host
from tests.support.keys import add_key, make_claims, private_key, private_pem, with_assertion
from tests.support.markup import read
from webapp.core.database.engine import make_engine
from webapp.core.database.models import ClientKey, IdentityClient
from webapp.core.database.unit_of_work import read_session

__all__ = ["node"]
KINDS = ["ES256", "EdDSA", "PS256"]
CLASSES: dict[str, Any] = {"ES256": ECKey, "EdDSA": OKPKey, "PS256": RSAKey}
WEB_CRYPTO = {
    "ES256": {"name": "ECDSA", "namedCurve": "P-256"},
    "EdDSA": {"name": "Ed25519"},
    "PS256": {"name": "RSA-PSS", "hash": "SHA-256"},
}


@pytest.fixture
def engine(live_server: servers.LiveServer) -> Iterator[Engine]:
    """Return the product's engine on the server's database."""
    engine = make_engine(live_server.database_url)
    yield engine
    engine.dispose()


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


def client_with_key(engine: Engine, kind: str) -> IdentityClient:
    client = make_client(engine, account_id="keys")
    add_key(engine, client, private_key(kind))
    return client


def is_long(engine: Engine, client: IdentityClient) -> bool:
    """Return whether the client was noted as one that the strict profile would refuse."""
    with read_session(engine) as session:
        noted = session.scalars(select(ClientKey.long_assertion_at).where(ClientKey.client_key == client.id)).one()
    return noted is not None


@pytest.mark.parametrize("kind", KINDS)
def test_authlib(live_server: servers.LiveServer, engine: Engine, kind: str) -> None:
    """It sends the token address as audience, and an hour of life: the standard profile."""
    client = client_with_key(engine, kind)
    key = CLASSES[kind].import_key(private_pem(private_key(kind)))
    url = f"{live_server.url}/connect/token"
    method = PrivateKeyJWT(url, alg="Ed25519" if kind == "EdDSA" else kind)  # joserfc warns of the former name
    with OAuth2Session(client.client_id, key, token_endpoint_auth_method=method) as session:
        for _ in range(2):
            assert session.fetch_token(url, grant_type="client_credentials")["token_type"] == "Bearer"
    assert is_long(engine, client)


@pytest.mark.parametrize("kind", KINDS)
def test_requests_oauth2client(live_server: servers.LiveServer, engine: Engine, kind: str) -> None:
    client = client_with_key(engine, kind)
    key = Jwk.from_pem(private_pem(private_key(kind))).with_kid_thumbprint()
    by = PrivateKeyJwtOfRequestsOAuth2Client(client.client_id, key, alg=kind)
    library = OAuth2Client(f"{live_server.url}/connect/token", auth=by, testing=True)
    assert library.client_credentials(scope="API").scope == "API"


@pytest.mark.parametrize("kind", KINDS)
def test_pyjwt_by_hand(live_server: servers.LiveServer, engine: Engine, kind: str) -> None:
    client = client_with_key(engine, kind)
    key: Any = private_key(kind)
    assertion = jwt.encode(make_claims(client.client_id, aud=live_server.url), key, kind)
    response = requests.post(f"{live_server.url}/connect/token", with_assertion(assertion), timeout=10)
    assert response.status_code == 200, response.text
    assert not is_long(engine, client)


@pytest.mark.parametrize("kind", KINDS)
def test_node_libraries(node: str, live_server: servers.LiveServer, engine: Engine, kind: str) -> None:
    """oauth4webapi and openid-client send the issuer and 60 s, which the strict profile accepts too."""
    client = client_with_key(engine, kind)
    task = {
        "issuer": live_server.url,
        "id": client.client_id,
        "pem": private_pem(private_key(kind)),
        "algorithm": WEB_CRYPTO[kind],
    }
    expected = {"scope": "API", "before": True, "after": False}
    assert run_node(node, "keys.mjs", task) == {"oauth4webapi": expected, "openid-client": expected}
    assert not is_long(engine, client)


# The snippets


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", ["Python (Authlib)", "Node (openid-client)", "Java"])
def test_a_snippet_gets_a_token(
    live_server: servers.LiveServer, engine: Engine, tmp_path: Path, language: str, kind: str
) -> None:
    """The code of the screens runs as it is, but for plain http (S11)."""
    client = make_client(engine, account_id="northwind", client_id=f'a "{kind}" client of {language}')
    add_key(engine, client, private_key(kind))
    host = make_host(engine, issuer=live_server.url, development=True)
    page = read(host.get(f"/{client.id}"))
    text = page.texts[f"ic-key-snippet-{['Python (Authlib)', 'Node (openid-client)', 'Java'].index(language) + 1}"]
    [file] = re.findall(r'"([a-z_]+-private-key\.pem)"', text)
    (tmp_path / file).write_text(private_pem(private_key(kind)))
    if language.startswith("Python"):
        command, name, text = [sys.executable], "token_request.py", f"{text}\nprint(token)\n"
    elif language.startswith("Node"):
        if not shutil.which("node") or not (LIBRARIES / "node_modules").is_dir():
            pytest.skip("Node.js is not installed.")
        (tmp_path / "node_modules").symlink_to(LIBRARIES / "node_modules")
        plain_http = "client.PrivateKeyJwt(key), { execute: [client.allowInsecureRequests] }"
        command, name = ["node"], "token.mjs"
        text = text.replace("client.PrivateKeyJwt(key)", plain_http) + "\nconsole.log(token);\n"
    else:
        if not shutil.which("javac"):
            pytest.skip("A Java development kit is not installed.")
        command, name = ["java"], "Token.java"
    (tmp_path / name).write_text(text)
    done = subprocess.run(
        [*command, name], cwd=tmp_path, capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    token = json.loads(done.stdout)["access_token"] if language == "Java" else done.stdout.strip()
    assert jwt.decode(token, options={"verify_signature": False})["client_id"] == client.client_id
    assert not is_long(engine, client)
