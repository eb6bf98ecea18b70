"""Settings that stop the start, and the keys of the development mode (C3, C4)."""

import json
import logging
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.mas import Mas
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.settings import PREFIX, Settings, SettingsError
from webapp.standalone import create_app, demo, settings
from webapp.standalone.settings import development_keys

SECRET, PEPPER, ENCRYPTION = "SECRET_KEY", f"{PREFIX}PEPPER", f"{PREFIX}KEY_ENCRYPTION_KEY"
CLOSED_PORT = "postgresql+psycopg://user:canary@127.0.0.1:1/x"  # no process listens on port 1
VALID = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


def start(sqlite_url: str, **changes: Any) -> None:
    """Start in production with some settings changed; None removes one."""
    given = PRODUCTION_SETTINGS | {f"{PREFIX}DATABASE_URL": sqlite_url} | changes
    create_app({name: value for name, value in given.items() if value is not None})


def test_the_base_settings_start(sqlite_url: str) -> None:
    """So each refusal below has one cause (C3)."""
    start(sqlite_url)


@pytest.mark.parametrize(
    ("changes", "named", "message_part"),
    [
        ({SECRET: None}, SECRET, "missing"),
        ({SECRET: ""}, SECRET, "missing"),
        ({SECRET: VALID[:31]}, SECRET, "shorter than 32"),
        ({SECRET: "development-" + VALID}, SECRET, "development"),
        ({SECRET: "abc" * 20}, SECRET, "guess"),
        ({PEPPER: None}, PEPPER, "missing"),
        ({PEPPER: "1:" + VALID[:31]}, PEPPER, "shorter than 32"),
        ({PEPPER: f"2:{VALID},1:short"}, PEPPER, "shorter than 32"),
        ({PEPPER: "1:development-" + VALID}, PEPPER, "development"),
        ({PEPPER: "1:" + "x" * 40}, PEPPER, "guess"),
        ({PEPPER: VALID}, PEPPER, ""),
        ({ENCRYPTION: None}, ENCRYPTION, "missing"),
        ({ENCRYPTION: VALID[:31]}, ENCRYPTION, "shorter than 32"),
        ({ENCRYPTION: VALID[:40]}, ENCRYPTION, "32 bytes"),
        ({ENCRYPTION: ("development-" + VALID)[:43]}, ENCRYPTION, "development"),
        ({ENCRYPTION: "A" * 43}, ENCRYPTION, "guess"),
        ({SECRET: VALID, ENCRYPTION: VALID}, ENCRYPTION, "equals SECRET_KEY"),
        ({SECRET: VALID, PEPPER: f"1:{VALID}"}, PEPPER, "equals SECRET_KEY"),
        ({PEPPER: f"1:{VALID}", ENCRYPTION: VALID}, ENCRYPTION, f"equals {PEPPER}"),
        ({f"{PREFIX}ISSUER": "http://localhost"}, f"{PREFIX}ISSUER", "https"),
        ({f"{PREFIX}SMTP_HOST": "smtp.internal"}, f"{PREFIX}MAIL_FROM", "e-mail address"),
        (
            {f"{PREFIX}SMTP_HOST": "smtp.internal", f"{PREFIX}MAIL_FROM": "Vitesse"},
            f"{PREFIX}MAIL_FROM",
            "e-mail address",
        ),
        ({f"{PREFIX}SMTP_PORT": "0"}, f"{PREFIX}SMTP_PORT", "65535"),
        ({f"{PREFIX}SMTP_PORT": "65536"}, f"{PREFIX}SMTP_PORT", "65535"),
        ({f"{PREFIX}SMTP_SECURITY": "ssl"}, f"{PREFIX}SMTP_SECURITY", "starttls"),
        (
            {f"{PREFIX}SMTP_USERNAME": "mas", f"{PREFIX}SMTP_SECURITY": "none"},
            f"{PREFIX}SMTP_SECURITY",
            "readable",
        ),
        ({f"{PREFIX}SCREENS_URL": "https://mas.example/"}, f"{PREFIX}SCREENS_URL", "slash"),
        ({f"{PREFIX}SECRET_MAX_DAYS": "366"}, f"{PREFIX}SECRET_MAX_DAYS", "from 1 to 365"),
        ({f"{PREFIX}REVIEW_DAYS": "0"}, f"{PREFIX}REVIEW_DAYS", "from 1 to 3650"),
        ({f"{PREFIX}REVIEW_DAYS": "3651"}, f"{PREFIX}REVIEW_DAYS", "from 1 to 3650"),
        ({f"{PREFIX}SCREENS_URL": "mas.example"}, f"{PREFIX}SCREENS_URL", "http"),
        ({f"{PREFIX}API_DOCS_URL": "javascript:alert(1)"}, f"{PREFIX}API_DOCS_URL", "http"),
        ({f"{PREFIX}ISSUER": "http://mas.example"}, f"{PREFIX}ISSUER", "https"),
        ({f"{PREFIX}ISSUER": None}, f"{PREFIX}ISSUER", "missing"),
        ({f"{PREFIX}AUDIENCE": None}, f"{PREFIX}AUDIENCE", "missing"),
        ({f"{PREFIX}DATABASE_URL": None}, f"{PREFIX}DATABASE_URL", "missing"),
        ({f"{PREFIX}DATABASE_URL": "nonsense"}, f"{PREFIX}DATABASE_URL", "postgresql+psycopg://"),
        ({f"{PREFIX}DATABASE_URL": "mysql://user:canary@host/x"}, f"{PREFIX}DATABASE_URL", "postgresql+psycopg://"),
        ({f"{PREFIX}DATABASE_URL": CLOSED_PORT}, f"{PREFIX}DATABASE_URL", "does not answer"),
        ({f"{PREFIX}DEVELOPMENT": "maybe"}, f"{PREFIX}DEVELOPMENT", "true or false"),
        ({f"{PREFIX}TRUSTED_PROXIES": "-1"}, f"{PREFIX}TRUSTED_PROXIES", "whole number"),
        ({"SESSION_COOKIE_NAME": "session"}, "SESSION_COOKIE_NAME", "__Host-"),
        ({"SESSION_COOKIE_NAME": "__Host-a;b"}, "SESSION_COOKIE_NAME", "letters"),
        ({"WEB_CONCURRENCY": "two"}, "WEB_CONCURRENCY", "whole number"),
        ({"DRAIN_SECONDS": "-1"}, "DRAIN_SECONDS", "whole number"),
        ({"DRAIN_SECONDS": "61"}, "DRAIN_SECONDS", "at most 60"),
        ({f"{PREFIX}NO_SUCH": "1"}, f"{PREFIX}NO_SUCH", "not a setting"),
        ({f"{PREFIX}API_ROLES": "[{}]"}, f"{PREFIX}API_ROLES", "JSON"),
    ],
)
def test_one_invalid_setting_stops_the_start(
    sqlite_url: str, changes: dict[str, Any], named: str, message_part: str
) -> None:
    """The message names the setting and the correction, never the value (C3)."""
    with pytest.raises(SettingsError) as refusal:
        start(sqlite_url, **changes)
    message = str(refusal.value)
    assert named in message
    assert message_part in message
    if named in settings.KEY_COMMANDS and message_part in ("missing", "guess", "development"):
        assert "python3 -c" in message
    assert "canary" not in message
    for name in (SECRET, PEPPER, ENCRYPTION):
        value = changes.get(name) or "no such value"
        assert value not in message
        assert value.removeprefix("1:") not in message


def test_debug_stops_the_start(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debug pages show code and values (C3)."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    with pytest.raises(SettingsError, match="FLASK_DEBUG"):
        start(sqlite_url)


def test_demo_users_stop_the_start(mas: Mas, sqlite_url: str) -> None:
    """Their password may be public (C3)."""
    mas.add_user(demo.DEMO_EMAILS[0])
    with pytest.raises(SettingsError, match=f"{PREFIX}DATABASE_URL"):
        start(sqlite_url)


@pytest.mark.parametrize(
    ("name", "processes", "storage", "warned"),
    [
        ("WEB_CONCURRENCY", "2", "memory://", True),
        ("GRANIAN_WORKERS", "4", "memory://", True),
        ("WEB_CONCURRENCY", "1", "memory://", False),
        ("WEB_CONCURRENCY", "2", "redis://127.0.0.1:6379/0", False),
    ],
)
def test_several_processes_without_shared_storage_get_a_warning(
    sqlite_url: str, caplog: pytest.LogCaptureFixture, name: str, processes: str, storage: str, warned: bool
) -> None:
    """Each process would count its own failures (C3)."""
    with caplog.at_level(logging.WARNING):
        start(sqlite_url, **{name: processes, f"{PREFIX}THROTTLE_STORAGE_URL": storage})
    assert (f"{PREFIX}THROTTLE_STORAGE_URL" in caplog.text) == warned


@pytest.mark.parametrize("issuer", ["https://mas.example", "http://mas.example"])
def test_the_development_mode_is_refused_with_a_public_issuer(sqlite_url: str, tmp_path: Path, issuer: str) -> None:
    """A public server cannot be started with cookies that lack Secure (W1, C3)."""
    with pytest.raises(SettingsError, match=f"{PREFIX}DEVELOPMENT"):
        create_app(
            {
                f"{PREFIX}DEVELOPMENT": "1",
                f"{PREFIX}ISSUER": issuer,
                f"{PREFIX}DATABASE_URL": sqlite_url,
                "INSTANCE_PATH": str(tmp_path / "instance"),
            }
        )


def test_environment_variables_are_converted(sqlite_url: str) -> None:
    """Every setting but the engine can be given as text."""
    role = {"key": "Reader", "name": "Read", "description": "Reads.", "group": "Read", "scopes": ["read"]}
    found = Settings.from_config(
        settings.read(
            PRODUCTION_SETTINGS
            | {
                f"{PREFIX}DATABASE_URL": sqlite_url,
                f"{PREFIX}TRUSTED_PROXIES": "2",
                f"{PREFIX}REFUSE_WEAK_SECRETS": "yes",
                f"{PREFIX}SECRET_MAX_DAYS": "90",
                f"{PREFIX}VIEWER_ROLES": "MerchantUser, Auditor",
                f"{PREFIX}API_ROLES": json.dumps([role]),
                "HOME": "/root",
            }
        )
    )
    assert (found.trusted_proxies, found.refuse_weak_secrets, found.secret_max_days) == (2, True, 90)
    assert found.viewer_roles == ("MerchantUser", "Auditor")
    assert [role.key for role in found.api_roles] == ["Reader"]


@pytest.mark.parametrize(
    ("host", "issuer"),
    [
        ("", "http://127.0.0.1:5000"),
        ("localhost", "http://localhost:5000"),
        ("0.0.0.0", "http://127.0.0.1:5000"),
        ("::1", "http://[::1]:5000"),
    ],
)
def test_the_development_mode_issues_under_its_own_address(tmp_path: Path, host: str, issuer: str) -> None:
    found = settings.read({f"{PREFIX}DEVELOPMENT": "1", "HOST": host, "INSTANCE_PATH": str(tmp_path / "instance")})
    assert found[f"{PREFIX}ISSUER"] == issuer


def test_a_relative_instance_path_starts_at_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    create_app({f"{PREFIX}DEVELOPMENT": "1", "INSTANCE_PATH": "kept"})
    assert sorted(path.name for path in (tmp_path / "kept").iterdir())[0] == "development-keys.json"


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_an_invalid_port_stops_the_start(port: str) -> None:
    with pytest.raises(SettingsError, match="PORT"):
        settings.address({"PORT": port})


# The keys of the development mode


def test_development_keys_are_generated_once_for_the_owner_only(tmp_path: Path) -> None:
    """The directory has mode 0700 and the file 0600 whatever the umask; the keys stay (C4)."""
    directory = tmp_path / "instance"
    before = os.umask(0)
    try:
        keys = development_keys(directory)
    finally:
        os.umask(before)
    assert development_keys(directory) == keys
    assert len(set(keys.values())) == 3
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (file,) = directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(("place", "mode"), [("", 0o750), ("", 0o701), ("development-keys.json", 0o640)])
def test_wider_file_modes_stop_the_start(tmp_path: Path, place: str, mode: int) -> None:
    """The message has the command that corrects them (C4)."""
    directory = tmp_path / "instance"
    development_keys(directory)
    (directory / place).chmod(mode)
    with pytest.raises(SettingsError, match="chmod"):
        development_keys(directory)


def test_a_development_key_is_refused_in_production(sqlite_url: str, tmp_path: Path) -> None:
    """Wherever it was copied to (C3)."""
    for name, value in development_keys(tmp_path / "instance").items():
        with pytest.raises(SettingsError, match=f"{name} is a key of the development mode"):
            start(sqlite_url, **{name: value})


def test_the_database_files_are_readable_by_the_owner_only(mas: Mas, sqlite_url: str) -> None:
    """The file, its -wal and its -shm have mode 0600 after writes (C4)."""
    mas.add_user()
    directory = Path(sqlite_url.removeprefix("sqlite:///")).parent
    files = sorted(directory.iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    files[0].chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        start(sqlite_url)


def test_a_port_in_use_stops_the_start_before_demo_data(tmp_path: Path) -> None:
    """The message names the setting; no demo password is generated that would then be lost."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = subprocess.run(
            [sys.executable, "-m", "webapp.standalone"],
            cwd=settings.PROJECT,
            env={f"{PREFIX}DEVELOPMENT": "1", "PORT": str(port), "INSTANCE_PATH": str(tmp_path / "instance")},
            capture_output=True,
            text=True,
        )
    assert result.returncode == 1
    assert result.stderr.startswith(f"Identity Clients does not start. Nothing can listen on 127.0.0.1:{port}")
    assert "PORT" in result.stderr
    assert result.stdout == ""
