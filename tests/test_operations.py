"""The procedures of `docs/operations.md`, run as they are written."""

import os
import re
import stat
import subprocess
import time
import uuid
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import pytest
from sqlalchemy import Engine, text

from tests.support import servers
from tests.support.endpoint import change_client
from tests.support.factories import make_client
from tests.support.guide import GUIDE, Site, blocks, make_client_in, make_site, section, services_of, token_status
from webapp.cli import commands
from webapp.core.database.engine import make_engine
from webapp.core.secrets.hashing import SecretHasher
from webapp.core.tokens import signing_keys
from webapp.core.tokens.signing import CLOCK_SKEW
from webapp.core.usage import queries
from webapp.oauth.request import BODY_BYTES_MAX
from webapp.settings import PREFIX, Settings
from webapp.standalone import __main__ as server
from webapp.standalone import create_app
from webapp.standalone import settings as standalone


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Site:
    """Return a directory to run the guide in, with an up-to-date database."""
    return make_site(tmp_path, sqlite_template)


# Names and numbers


def test_every_name_in_the_guide_exists() -> None:
    """Settings, commands, log messages and numbers."""
    existing = {f"{PREFIX}{field.name.upper()}" for field in fields(Settings)}
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", GUIDE)) <= existing
    assert {f"{PREFIX}{name}" for name in ("PEPPER", "KEY_ENCRYPTION_KEY", "TRUSTED_PROXIES")} <= existing
    for command in re.findall(r"flask identity-clients ([a-z-]+(?: list| rotate| withdraw)?)", GUIDE):
        found: Any = commands
        for word in command.split():
            found = found.commands[word]
    code = "".join(path.read_text("utf-8") for path in (servers.ROOT / "webapp").rglob("*.py"))
    messages = re.findall(r"^\| (?:warning|error) `([^`]+)`", section("Logs"), re.MULTILINE)
    assert len(messages) >= 10
    assert [message for message in messages if f'"{message}' not in code] == []


def test_every_row_of_outages_names_its_tests() -> None:
    """What fails, for whom, and the tests that show it (D8)."""
    found = re.findall(
        r"^def (test_\w+)",
        "".join(path.read_text("utf-8") for path in (servers.ROOT / "tests").rglob("*.py")),
        re.MULTILINE,
    )
    rows = [line for line in section("Outages").splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(test_\w+)`", row.rstrip(" |").rpartition("|")[2]) for row in rows]
    assert len(named) >= 10
    assert all(named)
    assert {name for names in named for name in names} <= set(found)


def test_the_numbers_match_the_code() -> None:
    """Limits, intervals and retention (D1, T8, L1)."""
    assert server.HEAD_LIMIT_BYTES == 24 * 1024
    assert server.HEADERS_WITHIN_MILLISECONDS == 30_000
    assert server.STOP_WITHIN_SECONDS == 11
    assert standalone.BODY_LIMIT_BYTES == 64 * 1024
    assert BODY_BYTES_MAX == 8 * 1024
    assert timedelta(minutes=70) == signing_keys.PUBLISHED_AFTER_SIGNING
    assert signing_keys.JWKS_CACHE_SECONDS == 5 * 60
    assert timedelta(minutes=5) == CLOCK_SKEW
    assert queries.LATEST_MAX == 200
    default = {field.name: field.default for field in fields(Settings)}
    assert (default["key_rotation_days"], default["key_publish_hours"]) == (90, 24)
    assert (default["event_retention_days"], default["token_request_retention_days"]) == (400, 90)


def test_a_first_start(site: Site) -> None:
    """The listed settings suffice, generated keys are valid, and the tables are created."""
    make_key = re.search(r"# (python3 -c .*)", blocks("Settings", "sh")[0])
    assert make_key
    for name in ("SECRET_KEY", f"{PREFIX}KEY_ENCRYPTION_KEY"):
        made = subprocess.run(["/bin/sh", "-c", make_key[1]], capture_output=True, text=True, check=True)
        site.set(name, made.stdout.strip())
    (site.directory / "lib" / "mas.sqlite3").unlink()
    assert site.run(blocks("Upgrade", "sh")[0]) == "All tables are up to date.\n"
    app = site.app()
    assert token_status(app, make_client_in(app)) == 200


# Keys


def test_signing_keys(site: Site) -> None:
    """Rotate and withdraw as the guide says (T8)."""
    app = site.app()
    client = make_client_in(app)
    assert token_status(app, client) == 200
    block, withdraw = blocks("Signing keys", "sh")
    show, rotate = block.splitlines()
    kid = site.flask(show).split("\tsigning\t")[0]
    assert "is published, and signs from" in site.flask(rotate)
    assert f"Key {kid} is withdrawn" in site.flask(withdraw.replace("KID", kid))
    time.sleep(signing_keys.RELOAD_SECONDS)
    assert token_status(app, client) == 200
    assert services_of(app).keys.signing_key(datetime.now(UTC)).kid != kid
    assert f"{kid}\twithdrawn" in site.flask(show)


def pepper_versions(engine: Engine) -> dict[int, int]:
    """Return the result of the guide's first statement."""
    with engine.connect() as connection:
        first, second = blocks("Rotating the pepper", "sql")[0].strip().removesuffix(";").split(";")
        connection.execute(text(second)).all()
        return {row[0]: row[1] for row in connection.execute(text(first))}


def test_changing_the_pepper(site: Site) -> None:
    """Step by step, while processes of the previous step still run; then the old one is removed (S2)."""
    old, new = site.settings[f"{PREFIX}PEPPER"].removeprefix("1:"), token_urlsafe(32)
    steps = [f"1:{old}", *re.findall(rf"    {PREFIX}PEPPER=(\S+)", section("Rotating the pepper"))]
    assert len(steps) == 3
    apps = []
    for step in steps:
        site.set(f"{PREFIX}PEPPER", step.replace("OLD", old).replace("NEW", new))
        apps.append(site.app())
    before, both, after = apps
    active, idle = make_client_in(before), make_client_in(before)
    assert token_status(both, active) == token_status(before, active) == 200
    assert pepper_versions(services_of(both).engine) == {1: 2}
    assert token_status(after, active) == 200
    assert pepper_versions(services_of(both).engine) == {1: 1, 2: 1}
    assert token_status(both, active) == token_status(both, idle) == token_status(after, active) == 200
    site.set(f"{PREFIX}PEPPER", f"2:{new}")
    assert [token_status(site.app(), client) for client in (active, idle)] == [200, 401]


def test_changing_the_key_encryption_key(site: Site) -> None:
    """Step by step, while processes of the previous step still run; then the old one is removed (T9)."""
    name = f"{PREFIX}KEY_ENCRYPTION_KEY"
    old, new = site.settings[name], token_urlsafe(32)
    before = site.app()
    client = make_client_in(before)
    assert token_status(before, client) == 200
    site.set(name, f"{old},{new}")
    both = site.app()
    assert token_status(both, client) == 200
    site.set(name, f"{new},{old}")
    site.flask(blocks("Rotating the key-encryption key", "sh")[0])
    assert token_status(both, client) == token_status(site.app(), client) == 200
    show, _ = blocks("Signing keys", "sh")[0].splitlines()
    first, second = (line.split("\t")[0] for line in site.flask(show).splitlines())
    site.set(name, new)
    site.flask(blocks("Signing keys", "sh")[1].replace("KID", first))
    assert token_status(site.app(), client) == 200
    assert services_of(site.app()).keys.signing_key(datetime.now(UTC)).kid == second


def test_losing_a_key(site: Site) -> None:
    """Without the pepper no secret verifies; without the other key no token is issued until a new one exists."""
    app = site.app()
    client = make_client_in(app)
    assert token_status(app, client) == 200
    kept = site.settings
    site.set(f"{PREFIX}PEPPER", f"1:{token_urlsafe(32)}")
    assert token_status(site.app(), client) == 401
    (site.directory / "identity-clients.env").write_text("".join(f"{key}={kept[key]}\n" for key in kept))
    site.set(f"{PREFIX}KEY_ENCRYPTION_KEY", token_urlsafe(32))
    assert token_status(site.app(), client) == 500
    show, _ = blocks("Signing keys", "sh")[0].splitlines()
    site.flask(blocks("Signing keys", "sh")[1].replace("KID", site.flask(show).split("\t")[0]))
    assert token_status(site.app(), client) == 200


# Backup, restore, purge


def test_backup_and_restore(site: Site) -> None:
    app = site.app()
    client, engine = make_client_in(app), services_of(app).engine
    backup, restore = blocks("Backup and restore", "sh")[:2]
    site.run(backup)
    change_client(engine, client, enabled=False)
    late = make_client_in(app)
    assert [token_status(app, each) for each in (client, late)] == [401, 200]
    engine.dispose()
    site.run(restore)
    assert stat.S_IMODE((site.directory / "lib" / "mas.sqlite3").stat().st_mode) == 0o600
    assert [token_status(site.app(), each) for each in (client, late)] == [200, 401]


def test_backup_and_restore_of_postgresql(site: Site, postgresql_url: str, postgresql_server: Engine) -> None:
    site.set(f"{PREFIX}DATABASE_URL", f"'{postgresql_url}'")
    engine = make_engine(postgresql_url)
    pepper = site.settings[f"{PREFIX}PEPPER"].removeprefix("1:").encode()
    client = make_client(engine, hasher=SecretHasher({1: pepper}))
    address = engine.url.set(drivername="postgresql")
    empty = f"restored_{uuid.uuid4().hex}"
    site.run(
        blocks("Backup and restore", "sh")[2].replace(
            'createdb "$EMPTY_DATABASE"', f'createdb --maintenance-db="$DATABASE" {empty}'
        ),
        PATH=f"{servers.postgresql_programs()}:{os.environ['PATH']}",
        DATABASE=address.render_as_string(),
        EMPTY_DATABASE=address.set(database=empty).render_as_string(),
    )
    dump = site.directory / "backups" / "monday.dump"
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    restored = create_app(
        site.settings | {f"{PREFIX}DATABASE_URL": engine.url.set(database=empty).render_as_string(hide_password=False)}
    )
    assert token_status(restored, client) == 200
    engine.dispose()
    services_of(restored).engine.dispose()
    with postgresql_server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {empty} WITH (FORCE)"))


def test_the_lines_of_cron(site: Site) -> None:
    """Five fields each, and a backslash before `%` in the command."""
    lines = blocks("Purge", "cron")[0].splitlines()
    assert len(lines) == 2
    for line in lines:
        *when, command = line.split(maxsplit=5)
        assert all(re.fullmatch(r"[\d*]+", part) for part in when)
        assert "%" not in command.replace(r"\%", "")
        printed = site.run(command.replace(r"\%", "%"))
        assert printed.startswith(("Deleted: 0 events", "The database is copied to"))
    assert [file.name for file in (site.directory / "backups").iterdir()] == [f"{datetime.now():%F}.sqlite3"]  # noqa: DTZ005
