"""Hosts and verifiers whose clocks differ, each in its own process (T2, T5, T8)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests
from sqlalchemy import Engine

from tests.support import servers
from tests.support.clocks import wrong_clock
from tests.support.endpoint import add_api
from tests.support.factories import PEPPER_SETTING, SECRET, make_client
from webapp.core.database.engine import make_engine

ISSUER = "http://127.0.0.1:5000"
OFFSETS = {"right": None, "a minute behind": "-60s", "4 minutes behind": "-240s", "a minute ahead": "+60s"}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, servers.LiveServer]]:
    """Return hosts that share a database and keys, and whose clocks differ."""
    shared = tmp_path_factory.mktemp("shared")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                servers.serve(
                    tmp_path_factory.mktemp("host"),
                    INSTANCE_PATH=f"{shared}/instance",
                    IDENTITY_CLIENTS_DATABASE_URL=f"sqlite:///{shared}/instance/live.sqlite3",
                    IDENTITY_CLIENTS_ISSUER=ISSUER,
                    IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING,
                    **({} if offset is None else wrong_clock(offset)),
                )
            )
            for name, offset in OFFSETS.items()
        }


@pytest.fixture(scope="module")
def engine(hosts: dict[str, servers.LiveServer]) -> Iterator[Engine]:
    """Return the product's engine on the shared database."""
    engine = make_engine(hosts["right"].database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def api(engine: Engine) -> tuple[str, str]:
    """Return the credentials of a resource server."""
    return add_api(engine, "the API of the clock tests")


def token(host: servers.LiveServer, client_id: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
    answer = requests.post(f"{host.url}/connect/token", data=form, timeout=10)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def is_active(host: servers.LiveServer, token: str, api: tuple[str, str]) -> bool:
    return bool(
        requests.post(f"{host.url}/connect/introspect", data={"token": token}, auth=api, timeout=10).json()["active"]
    )


@pytest.mark.parametrize("other", [name for name in OFFSETS if name != "right"])
@pytest.mark.parametrize("issues_first", [True, False], ids=["right issues", "other issues"])
def test_introspection_and_revocation_with_clock_skew(
    hosts: dict[str, servers.LiveServer], engine: Engine, api: tuple[str, str], other: str, issues_first: bool
) -> None:
    """Introspect and revoke a token of one host on the other, and see it inactive on both (T5, T12)."""
    client = make_client(engine)
    issuing, asked = (hosts["right"], hosts[other]) if issues_first else (hosts[other], hosts["right"])
    issued = token(issuing, client.client_id)
    assert is_active(issuing, issued, api)
    assert is_active(asked, issued, api)
    revoked = requests.post(
        f"{asked.url}/connect/revocation", data={"token": issued}, auth=(client.client_id, SECRET), timeout=10
    )
    assert revoked.status_code == 200
    assert not is_active(asked, issued, api)
    assert not is_active(issuing, issued, api)


def run_keys(host: servers.LiveServer, *arguments: str, offset: str | None = None) -> str:
    """Run `flask identity-clients keys ...` on the database of a host, optionally with a wrong clock."""
    instance = host.database_url.removeprefix("sqlite:///").rpartition("/")[0]
    environment = {
        "PATH": os.environ["PATH"],
        "IDENTITY_CLIENTS_DEVELOPMENT": "true",
        "IDENTITY_CLIENTS_DATABASE_URL": host.database_url,
        "INSTANCE_PATH": instance,
        "IDENTITY_CLIENTS_PEPPER": PEPPER_SETTING,
    } | ({} if offset is None else wrong_clock(offset))
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "identity-clients", "keys", *arguments]
    done = subprocess.run(command, cwd=servers.ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_keys_command_with_clock_400_days_ahead(
    hosts: dict[str, servers.LiveServer], engine: Engine, api: tuple[str, str]
) -> None:
    """Recover from a key created under a clock 400 days ahead: hosts keep signing, `keys rotate` rotates (T8)."""
    client = make_client(engine)
    before = token(hosts["right"], client.client_id)
    far = run_keys(hosts["right"], "rotate", offset="+400d").split()[1]
    [signing] = [line for line in run_keys(hosts["right"], "list").splitlines() if "\tsigning\t" in line]
    assert "until" in signing
    after = [token(host, client.client_id) for host in hosts.values()]
    [signing] = [line for line in run_keys(hosts["right"], "list").splitlines() if "\tsigning\t" in line]
    assert "until" not in signing, "mended when a host with a right clock signed"
    assert all(is_active(host, each, api) for host in hosts.values() for each in (before, *after))
    rotated = run_keys(hosts["right"], "rotate").split()[1]
    assert rotated != far
    assert f"{rotated}\twaiting" in run_keys(hosts["right"], "list")
