"""Tools in JavaScript that know the API by its document alone: Spectral, and a client generated in TypeScript."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import Engine

from tests.oauth.test_node_client import LIBRARIES, node
from tests.support import servers
from tests.support.api import PREFIX, allow_api, make_caller
from tests.support.factories import SECRET, make_account
from webapp.core.database.engine import make_engine

SCRIPTS = Path(__file__).parent / "node"

__all__ = ["node"]


@pytest.fixture
def engine(live_server: servers.LiveServer) -> Iterator[Engine]:
    """Return the product's engine on the server's database."""
    engine = make_engine(live_server.database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def folder(live_server: servers.LiveServer, tmp_path: Path) -> Path:
    """Return a directory with the document and the scripts, where the libraries are found."""
    document = requests.get(f"{live_server.url}{PREFIX}/openapi.json", timeout=10)
    (tmp_path / "openapi.json").write_bytes(document.content)
    for script in SCRIPTS.iterdir():
        shutil.copy(script, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(LIBRARIES / "node_modules")
    return tmp_path


def run(node: str, folder: Path, program: str, *arguments: str) -> str:
    """Run a program of a library, and return what it printed."""
    command = [node, str(LIBRARIES / "node_modules" / program), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_spectral_finds_no_fault(node: str, folder: Path) -> None:
    """With its rules for OpenAPI, of which a warning fails too."""
    program = "@stoplight/spectral-cli/dist/index.js"
    found = run(node, folder, program, "lint", "--format", "json", "--fail-severity", "hint", "openapi.json")
    assert json.loads(found[: found.rindex("]") + 1]) == []


def test_a_client_generated_in_typescript(
    node: str, live_server: servers.LiveServer, engine: Engine, folder: Path
) -> None:
    """It creates, updates, rotates, uses and deletes a client, and adds a key; it passes the strict type checks."""
    make_account(engine, "typescript")
    allow_api(engine, "typescript")
    caller = make_caller(engine, "typescript-deployer", account_id="typescript")
    run(node, folder, "openapi-typescript/bin/cli.js", "openapi.json", "--output", "schema.d.ts")
    options = ["--strict", "--noUncheckedIndexedAccess", "--module", "nodenext", "--target", "es2022"]
    run(node, folder, "typescript/bin/tsc", *options, "--lib", "es2022,dom,dom.iterable", "client.ts")
    task = {
        "server": live_server.url,
        "api": live_server.url + PREFIX,
        "clientId": caller.client_id,
        "secret": SECRET,
    }
    command = [node, "client.js", json.dumps(task)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen == {
        "name": "Typed client",
        "used": [200, 200],
        "states": ["ending", "current"],
        "keys": [["1", "ES256", "paused"], ["1", "ES256", "paused"]],
        "listed": [["typed-client", ["typescript"]]],
        "stale": {"status": 412, "title": "The client was changed since you read it"},
        "deleted": 204,
        "usedAfterwards": 401,
    }
