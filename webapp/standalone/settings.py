"""The settings of the stand-alone application, read from the environment; unsafe ones are refused (C3)."""

import contextlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from secrets import token_urlsafe
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ..core.clients.roles import ApiRole
from ..settings import KEY_BYTES, PREFIX, Settings, SettingsError

PROJECT = Path(__file__).parents[2]
BODY_LIMIT_BYTES = 64 * 1024
FORM_PARTS_LIMIT = 50
DIFFERENT_CHARACTERS_MIN = 10
# The prefix of generated development keys, which production refuses.
DEVELOPMENT_MARK = "development-"
DRAIN_SECONDS_MAX = 60
PROCESS_COUNTS = ("WEB_CONCURRENCY", "GRANIAN_WORKERS")
DATABASES = ("sqlite", "postgresql")
DATABASE_UNAVAILABLE = f"The database at {PREFIX}DATABASE_URL does not answer."
LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - an operator may choose it, it is not the default

_COOKIE_NAME = re.compile(r"[A-Za-z0-9_-]+")

PEPPER, KEY_ENCRYPTION_KEY = f"{PREFIX}PEPPER", f"{PREFIX}KEY_ENCRYPTION_KEY"
KEY_COMMANDS = {
    "SECRET_KEY": 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"',
    PEPPER: "python3 -c \"import secrets; print('1:' + secrets.token_urlsafe(32))\"",
    KEY_ENCRYPTION_KEY: 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"',
}


def read(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration for Flask.

    :param given: the environment, or a mapping with the same names; values may be strings as in an environment.
    :raises SettingsError: a setting is missing, unknown or unsafe. The message never contains the value.
    """
    types = get_type_hints(Settings)
    config = {
        name: _typed(name, value, types.get(name[len(PREFIX) :].lower()))
        for name, value in given.items()
        if name.startswith(PREFIX)
    }
    config["SECRET_KEY"] = given.get("SECRET_KEY") or None
    config["INSTANCE_PATH"] = str(Path(given.get("INSTANCE_PATH") or PROJECT / "instance").resolve())
    config["PROCESSES"] = max(_typed(name, given.get(name) or "1", int) for name in PROCESS_COUNTS)
    config["DRAIN_SECONDS"] = _typed("DRAIN_SECONDS", given.get("DRAIN_SECONDS") or "0", int)
    if config["DRAIN_SECONDS"] > DRAIN_SECONDS_MAX:
        raise SettingsError(f"DRAIN_SECONDS must be at most {DRAIN_SECONDS_MAX}.")
    config["METRICS_TOKEN"] = given.get("METRICS_TOKEN") or ""
    if 0 < len(config["METRICS_TOKEN"]) < KEY_BYTES:
        raise SettingsError(
            f"METRICS_TOKEN is shorter than {KEY_BYTES} bytes. Make one with: {KEY_COMMANDS['SECRET_KEY']}"
        )
    development = config.get(f"{PREFIX}DEVELOPMENT", False)
    if development:
        directory = Path(config["INSTANCE_PATH"])
        defaults = _development_defaults(given, directory) | development_keys(directory)
        config = defaults | {name: value for name, value in config.items() if value is not None}
        _refuse_other_machines(config[f"{PREFIX}ISSUER"])
    else:
        _refuse_unsafe_keys(config)
    config.setdefault(f"{PREFIX}TRUSTED_HOSTS", _own_names(given, config))
    _refuse_other_databases(str(config.get(f"{PREFIX}DATABASE_URL") or ""))
    Settings.from_config(config)
    secure = not development
    return config | {
        "SESSION_COOKIE_NAME": _cookie_name(given, secure=secure),
        "SESSION_COOKIE_SECURE": secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PREFERRED_URL_SCHEME": "https" if secure else "http",
        "MAX_CONTENT_LENGTH": BODY_LIMIT_BYTES,
        "MAX_FORM_PARTS": FORM_PARTS_LIMIT,
        "WTF_CSRF_TIME_LIMIT": None,
    }


def _cookie_name(given: Mapping[str, Any], *, secure: bool) -> str:
    """Return the name of the session cookie: `SESSION_COOKIE_NAME`, or one of our own.

    In development it contains the port, since browsers send a cookie to every port of a host.

    :raises SettingsError: it is not a cookie's name, or browsers would drop the cookie or not protect it (W1).
    """
    name = str(given.get("SESSION_COOKIE_NAME") or "")
    if not name:
        return "__Host-identity-clients" if secure else f"identity-clients-{address(given)[1]}"
    if not _COOKIE_NAME.fullmatch(name):
        raise SettingsError("SESSION_COOKIE_NAME must be letters, digits, - or _.")
    if secure and not name.startswith("__Host-"):
        raise SettingsError("SESSION_COOKIE_NAME must begin with __Host-, so that no neighbour can set the cookie.")
    if not secure and name.lower().startswith(("__host-", "__secure-")):
        raise SettingsError("SESSION_COOKIE_NAME must not begin with __Host- or __Secure- in development.")
    return name


def _typed(name: str, value: Any, wanted: Any) -> Any:
    """Return a string of the environment converted to the type of the setting; any other value unchanged."""
    if not isinstance(value, str):
        return value
    if wanted is bool:
        if value.lower() not in ("1", "true", "yes", "on", "0", "false", "no", "off", ""):
            raise SettingsError(f"{name} must be true or false.")
        return value.lower() in ("1", "true", "yes", "on")
    if wanted is int:
        if not value.isdecimal():
            raise SettingsError(f"{name} must be a whole number.")
        return int(value)
    if wanted == tuple[str, ...]:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if name == f"{PREFIX}ROLE_PERMISSIONS":
        try:
            return json.loads(value)
        except ValueError as error:
            raise SettingsError(f"{name} must be a JSON object of roles and lists of permissions.") from error
    if name == f"{PREFIX}API_ROLES":
        try:
            return tuple(ApiRole(**role | {"scopes": tuple(role["scopes"])}) for role in json.loads(value))
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(f"{name} must be a JSON list of objects with the fields of ApiRole.") from error
    if name == f"{PREFIX}ENGINE":
        raise SettingsError(f"{name} cannot be given as a string. Set {PREFIX}DATABASE_URL.")
    return value


def _own_names(given: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the default of the trusted host names (C5): the issuer's.

    In development also those of the loopback interface, or none, which means any, if the server listens on others.
    """
    names = {name_in_url(urlsplit(str(config.get(f"{PREFIX}ISSUER") or "")).hostname or "")} - {""}
    if config.get(f"{PREFIX}DEVELOPMENT"):
        host = address(given)[0]
        names = names | {name_in_url(name) for name in LOOPBACK} if host in LOOPBACK else set()
    return tuple(sorted(names))


def _refuse_other_databases(url: str) -> None:
    try:
        known = not url or make_url(url).get_backend_name() in DATABASES
    except ArgumentError:
        known = False
    if not known:
        raise SettingsError(f"{PREFIX}DATABASE_URL must begin with sqlite:/// or postgresql+psycopg://.")


def address(given: Mapping[str, Any]) -> tuple[str, int]:
    """Return the address to listen on: `HOST` and `PORT`, by default 127.0.0.1 and 5000.

    :raises SettingsError: `PORT` is not a port number.
    """
    port = str(given.get("PORT") or "5000")
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise SettingsError("PORT must be a number from 1 to 65535.")
    return str(given.get("HOST") or "127.0.0.1"), int(port)


def own_url(host: str, port: int) -> str:
    """Return the URL under which this machine reaches a server that listens on this address."""
    return f"http://{name_in_url('127.0.0.1' if host in EVERY_ADDRESS else host)}:{port}"


def name_in_url(host: str) -> str:
    """Return a host as part of a URL, an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


# Development


def _development_defaults(given: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    return {
        f"{PREFIX}ISSUER": own_url(*address(given)),
        f"{PREFIX}AUDIENCE": "https://api.mas.example",
        f"{PREFIX}API_ENABLED": True,
        f"{PREFIX}WEBHOOKS_TO_PRIVATE_NETWORKS": True,
        f"{PREFIX}DATABASE_URL": f"sqlite:///{directory / 'identity-clients.sqlite3'}",
    }


def development_keys(directory: Path) -> dict[str, str]:
    """Return the development keys of a directory, generated by the first call.

    :raises SettingsError: other users can read the directory or the file (C4).
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / "development-keys.json"
    if not path.exists():
        keys = {
            "SECRET_KEY": DEVELOPMENT_MARK + token_urlsafe(KEY_BYTES),
            PEPPER: f"1:{DEVELOPMENT_MARK}{token_urlsafe(KEY_BYTES)}",
            # 43 characters of base64url are 32 bytes.
            KEY_ENCRYPTION_KEY: (DEVELOPMENT_MARK + token_urlsafe(KEY_BYTES))[:43],
        }
        with tempfile.NamedTemporaryFile("w", dir=directory, suffix=".new") as new:  # created with mode 0600
            json.dump(keys, new, indent=2)
            new.flush()
            with contextlib.suppress(FileExistsError):
                os.link(new.name, path)  # atomic, and the first process wins
    for checked, mode in ((directory, 0o700), (path, 0o600)):
        if stat.S_IMODE(checked.stat().st_mode) & ~mode:
            raise SettingsError(f"{checked} can be read by other users. Run: chmod {mode:o} {checked}")
    keys = json.loads(path.read_text("utf-8"))
    return {str(name): str(value) for name, value in keys.items()}


def _refuse_other_machines(issuer: str) -> None:
    if urlsplit(issuer).hostname not in LOOPBACK:
        raise SettingsError(
            f"{PREFIX}DEVELOPMENT is for a developer's own machine: leave it out, or let {PREFIX}ISSUER name localhost."
        )


# Production


def _refuse_unsafe_keys(config: Mapping[str, Any]) -> None:
    keys: dict[str, str] = {}
    for name, make in KEY_COMMANDS.items():
        value = str(config.get(name) or "")
        if not value:
            raise SettingsError(f"{name} is missing. Make one with: {make}")
        several = [value] if name == "SECRET_KEY" else value.split(",")
        for key in (part.partition(":")[2] if name == PEPPER else part for part in several):
            if len(key.strip().encode()) < KEY_BYTES:
                raise SettingsError(f"{name} is shorter than {KEY_BYTES} bytes. Make one with: {make}")
            if key.strip().startswith(DEVELOPMENT_MARK):
                raise SettingsError(f"{name} is a key of the development mode. Make one with: {make}")
            if len(set(key.strip())) < DIFFERENT_CHARACTERS_MIN:
                raise SettingsError(f"{name} is easy to guess. Make one with: {make}")
            if key.strip() in keys:
                raise SettingsError(f"{name} equals {keys[key.strip()]}. Make each of its own, with: {make}")
            keys[key.strip()] = name
