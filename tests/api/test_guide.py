"""The guide `docs/api.md` and the declarative example, run against the server of `make run`."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support import servers
from tests.support.api import allow_api, make_caller
from tests.support.factories import SECRET, make_account
from tests.support.guide import blocks
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient

GUIDE = (servers.ROOT / "docs" / "api.md").read_text("utf-8")
EXAMPLE = servers.ROOT / "examples" / "clients_as_code.py"


@pytest.fixture
def engine(live_server: servers.LiveServer) -> Iterator[Engine]:
    """Return the product's engine on the server's database."""
    engine = make_engine(live_server.database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def caller(engine: Engine) -> IdentityClient:
    """Return a client that may call the API, in a separate account."""
    make_account(engine, "guide")
    allow_api(engine, "guide")
    return make_caller(engine, "guide-deployer", account_id="guide", roles=("ManageIdentityClients", "MerchantUser"))


def run(command: list[str], directory: Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=directory, env=os.environ | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_guide_and_the_example(
    live_server: servers.LiveServer, caller: IdentityClient, tmp_path: Path
) -> None:
    """Every command of the guide in order in one shell; then the example twice."""
    commands = blocks("A walk with curl", "sh", GUIDE)
    assert len(commands) > 8
    script = "\n".join(commands).replace("http://127.0.0.1:5000", live_server.url)
    credentials = {"CLIENT_ID": caller.client_id, "CLIENT_SECRET": SECRET}
    output = run(["bash", "-e", "-o", "pipefail", "-c", script], tmp_path, **credentials)
    assert re.findall(r"^API$", output, re.MULTILINE) == ["API", "API"], "each of the two secrets gets a token"
    assert '"action":"secret changed"' in output

    wanted: list[dict[str, Any]] = [
        {"client_id": "claims-feed", "name": "Claims", "token_duration_minutes": 10, "roles": ["MerchantUser"]},
        {"client_id": "ledger-feed", "roles": ["MerchantUser"], "networks": [{"network": "192.0.2.1"}]},
    ]
    (tmp_path / "clients.json").write_text(json.dumps(wanted))
    command = [sys.executable, str(EXAMPLE), "clients.json"]

    def apply() -> list[str]:
        return run(command, tmp_path, URL=live_server.url, **credentials).splitlines()

    assert apply() == ["claims-feed: created", "ledger-feed: created; set networks"]
    assert apply() == ["claims-feed: no difference", "ledger-feed: no difference"]
    wanted[0]["name"] = "Claims feed"
    (tmp_path / "clients.json").write_text(json.dumps(wanted))
    assert apply() == ["claims-feed: changed name", "ledger-feed: no difference"]
    secret = tmp_path / "secrets" / "claims-feed"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text().startswith("vcs_")
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 60
