"""The snippets of a client's page, run exactly as they are printed against the live server."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import Engine

from tests.oauth.test_node_client import AWKWARD_SECRET, LIBRARIES
from tests.support import servers
from tests.support.factories import make_client
from tests.support.host import HARBOUR, Host, make_host
from tests.support.markup import Markup, read
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient

LANGUAGES = {
    # The position on the page, and how the printed code is run; Java and C# need libraries that are not installed.
    "curl": (1, "sh curl.txt"),
    "Python": (3, f"cp python.txt code.py; echo 'print(token)' >> code.py; {sys.executable} code.py"),
    "Node": (4, "cp node.txt code.mjs; echo 'console.log(token)' >> code.mjs; node code.mjs"),
}


@pytest.fixture(scope="module")
def engine(live_server: servers.LiveServer) -> Iterator[Engine]:
    """Return the product's engine on the server's database."""
    engine = make_engine(live_server.database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def client(engine: Engine) -> IdentityClient:
    """Return a client whose ID and secret need quoting."""
    return make_client(engine, account_id="northwind", client_id="a 'quoted' & \"odd\" one", secret=AWKWARD_SECRET)


@pytest.fixture(scope="module")
def host(live_server: servers.LiveServer, engine: Engine) -> Host:
    """Return a host with the same issuer."""
    return make_host(engine, issuer=live_server.url, development=True, api_docs_url="https://docs.example/api?a=1&b=2")


@pytest.fixture(scope="module")
def page(host: Host, client: IdentityClient) -> Markup:
    """Return the page of the client."""
    return read(host.get(f"/{client.id}"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_snippet_gets_a_token(page: Markup, tmp_path: Path, language: str) -> None:
    """With the lines of `.env`, to which only the secret is added."""
    position, command = LANGUAGES[language]
    if language == "Node":
        if not shutil.which("node") or not (LIBRARIES / "node_modules").is_dir():
            pytest.skip("Node.js is not installed.")
        (tmp_path / "node_modules").symlink_to(LIBRARIES / "node_modules")
    (tmp_path / f"{language.lower()}.txt").write_text(page.texts[f"ic-snippet-{position}"] + "\n")
    lines = page.texts["ic-snippet-2"].replace("CLIENT_SECRET=\n", f"CLIENT_SECRET='{AWKWARD_SECRET}'\n")
    (tmp_path / ".env").write_text(lines + "\n")
    done = subprocess.run(
        ["sh", "-c", f"set -a; . ./.env; set +a; {command}"],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    token = json.loads(done.stdout)["access_token"] if language == "curl" else done.stdout.strip()
    assert token.count(".") == 2


def test_the_other_languages_and_the_documentation_are_there(page: Markup) -> None:
    titles = page.text
    for title in ("Java (Spring Security)", "C# (Duende.IdentityModel)"):
        assert title in titles
    [link] = [attributes for tag, attributes in page.tags if attributes.get("href", "").startswith("https://docs")]
    assert link["href"] == "https://docs.example/api?a=1&b=2"


def test_the_postman_collection_requests_a_token(
    host: Host, client: IdentityClient, live_server: servers.LiveServer
) -> None:
    """Its request, with its variables filled in as Postman does; the secret is for its user to fill in."""
    answer = host.get(f"/{client.id}/postman.json")
    name = answer.headers["Content-Disposition"]
    assert name == 'attachment; filename="a-quoted-odd-one.postman_collection.json"'
    collection = answer.get_json()
    assert collection["info"]["schema"].endswith("/v2.1.0/collection.json")
    variables = {each["key"]: each["value"] for each in collection["variable"]}
    assert variables["client_secret"] == ""
    variables["client_secret"] = AWKWARD_SECRET
    [item] = collection["item"]
    form = {each["key"]: each["value"] for each in item["request"]["body"]["urlencoded"]}
    filled = {key: variables[value[2:-2]] if value.startswith("{{") else value for key, value in form.items()}
    assert item["request"]["url"] == "{{token_url}}"
    reply = requests.post(variables["token_url"], data=filled, timeout=30)
    assert reply.json()["token_type"] == "Bearer", reply.text
    host.actor, actor = HARBOUR, host.actor
    assert host.get(f"/{client.id}/postman.json").status_code == 404
    host.actor = actor
