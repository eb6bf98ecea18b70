"""Point-in-time recovery of PostgreSQL as `docs/operations.md` describes it, and what is to be done afterwards."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text

from tests.support import servers
from tests.support.endpoint import change_client
from tests.support.factories import SECRET, make_client
from tests.support.guide import NAME, Site, blocks, make_client_in, make_site, services_of, token_status
from tests.support.outages import wait_until_connectable
from tests.test_proxies import wait_for
from webapp.core.database.models import IdentityClient
from webapp.settings import PREFIX
from webapp.standalone import create_app

HEADING = "Point-in-time recovery"


@pytest.fixture
def site(sqlite_template: Path) -> Iterator[Site]:
    """Return a directory to run the guide in, whose backups PostgreSQL may write."""
    directory = Path(tempfile.mkdtemp(prefix="ic-", dir="/tmp"))  # a socket's path must be short
    directory.chmod(0o711)
    site = make_site(directory, sqlite_template)
    yield site
    shutil.rmtree(directory)


def start(site: Site, name: str, prepare: str) -> servers.Server:
    """Start a PostgreSQL server with the guide's settings; both servers of a site have the same socket."""
    return servers.Server(
        "PostgreSQL",
        site.directory / name,
        f'''
        {prepare}
        exec "{servers.postgresql_programs()}/postgres" -D data -k "{site.directory}/socket" -c listen_addresses=
        ''',
    )


def own(path: Path, owner: os.stat_result) -> None:
    """Give a directory and all below it to the user who runs PostgreSQL."""
    for each in (path, *path.rglob("*")):
        os.chown(each, owner.st_uid, owner.st_gid)


def token_of(app: Flask, client: IdentityClient) -> str:
    """Return a new token of a client."""
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET}
    response = app.test_client().post("/connect/token", base_url=f"https://{NAME}", data=form)
    return str(response.get_json()["access_token"])


def published(app: Flask) -> set[str]:
    """Return the IDs of the published keys."""
    document = app.test_client().get("/.well-known/jwks.json", base_url=f"https://{NAME}").get_json()
    return {key["kid"] for key in document["keys"]}


def is_primary(engine: Engine) -> bool:
    """Return whether the server has finished its recovery."""
    with engine.connect() as connection:
        return connection.scalar(text("SELECT pg_is_in_recovery()")) is False


def wait_until_archived(engine: Engine) -> None:
    """Let the server archive all that it has written, as it does each minute."""
    with engine.connect() as connection:
        name = connection.scalar(text("SELECT pg_walfile_name(pg_switch_wal())"))
    archived = text("SELECT last_archived_wal >= :name FROM pg_stat_archiver")

    def is_archived() -> bool:
        with engine.connect() as connection:
            return bool(connection.scalar(archived, {"name": name}))

    wait_for(is_archived)


def test_point_in_time_recovery(site: Site) -> None:
    """Later changes are undone; withdrawn keys end all tokens, and lost clients are created again (T8, I6)."""
    settings, (base_backup, restore) = blocks(HEADING, "ini")[0], blocks(HEADING, "sh")
    (site.directory / "socket").mkdir(mode=0o777)
    (site.directory / "socket").chmod(0o777)
    (site.directory / "backups" / "wal").mkdir(mode=0o700)
    initialise = (
        f'"{servers.postgresql_programs()}/initdb" -D data -U tests --auth=trust --no-sync -E UTF8 --locale=C.UTF-8'
    )
    first = start(site, "one", f"{initialise}\ncat >>data/postgresql.conf <<'END'\n{site.adapt(settings)}END")
    owner = (site.directory / "one").stat()
    own(site.directory / "backups", owner)
    url = f"postgresql+psycopg://tests@/postgres?host={site.directory}/socket"
    environment: dict[str, Any] = {
        "PATH": f"{servers.postgresql_programs()}:{os.environ['PATH']}",
        "DATABASE": url.replace("+psycopg", ""),
        "NEW_DATA": f"{site.directory}/two/data",
    }
    site.set(f"{PREFIX}DATABASE_URL", f"'{url}'")
    plain = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        wait_until_connectable(url)
        running = create_app(site.settings | {f"{PREFIX}DATABASE_URL": url})
        engine = services_of(running).engine
        assert running.test_cli_runner().invoke(args=["mas", "upgrade"]).exit_code == 0
        leaked = make_client_in(running)
        site.run(base_backup, **environment)
        before = token_of(running, leaked)
        with plain.connect() as connection:
            environment["TIME"] = str(connection.scalar(text("SELECT now()")))
        change_client(engine, leaked, enabled=False)
        late = make_client_in(running)
        assert [token_status(running, each) for each in (leaked, late)] == [401, 200]
        wait_until_archived(plain)
        engine.dispose()
        plain.dispose()
        first.stop()
        (site.directory / "two").mkdir(mode=0o700)
        site.run(restore, **environment)
        assert stat.S_IMODE((site.directory / "two" / "data").stat().st_mode) == 0o700
        (site.directory / "two").rename(site.directory / "restored")
        own(site.directory / "restored", owner)
        first = start(site, "two", f'mv "{site.directory}/restored/data" data')
        wait_until_connectable(url)
        wait_for(lambda: is_primary(plain))
        restored = create_app(site.settings | {f"{PREFIX}DATABASE_URL": url})
        assert [token_status(restored, each) for each in (leaked, late)] == [200, 401]
        show, _ = blocks("Signing keys", "sh")[0].splitlines()
        runner, withdraw = restored.test_cli_runner(), blocks("Signing keys", "sh")[1].split()[1:3]
        listed = runner.invoke(args=show.split()[1:]).output.splitlines()
        for line in listed:
            assert runner.invoke(args=[*withdraw, "withdraw", line.split("\t")[0]]).exit_code == 0
        old = jwt.get_unverified_header(before)["kid"]
        change_client(services_of(restored).engine, leaked, enabled=False)
        make_client(services_of(restored).engine, client_id=late.client_id, hasher=services_of(restored).secrets.hasher)
        reopened = create_app(site.settings | {f"{PREFIX}DATABASE_URL": url})
        assert [token_status(reopened, each) for each in (leaked, late)] == [401, 200]
        assert old not in published(reopened)
        assert jwt.get_unverified_header(token_of(reopened, late))["kid"] in published(reopened)
        for app in (restored, reopened):
            services_of(app).engine.dispose()
    finally:
        plain.dispose()
        first.stop()
