"""Every `IDENTITY_CLIENTS_*` setting: its name, its default and what it means. An unknown one raises."""

import base64
import binascii
import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

PREFIX = "IDENTITY_CLIENTS_"
KEY_BYTES = 32
_HOST = re.compile(r"\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")


class SettingsError(Exception):
    """A setting is missing, unknown or unfit. The text names the setting and how to mend it, never its value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a host may set, as read from `app.config`; the setting's name is the field's, in capitals, prefixed."""

    issuer: str
    """The `iss` of every token and the base of the published addresses: https, no query, no fragment (T14)."""
    audience: str
    """The `aud` of every token: the API that accepts them (T4)."""
    pepper: str = dataclasses.field(repr=False)
    """Key of the HMAC under every secret's hash: `version:key` pairs, newest first, separated by commas (S2)."""
    key_encryption_key: str = dataclasses.field(repr=False)
    """32 bytes in base64url, under which the private signing keys are stored (T9); more after commas only decrypt."""
    database_url: str | None = None
    """SQLAlchemy address of the database. Needed unless `engine` is given."""
    engine: Any = dataclasses.field(default=None, repr=False)
    """An SQLAlchemy engine of the host's to use in place of our own."""
    development: bool = False
    """Allow plain http on loopback. Never outside a developer's own machine (C3)."""
    url_prefix: str = "/administration/identity-clients"
    """Where the screens are mounted."""
    blueprint_name: str = "identity_clients"
    """The name of the screens' blueprint, for `url_for`; the endpoint's is the same with `_endpoint`."""
    host_loads_htmx: bool = False
    """The host's frame loads htmx 4 by itself, so that our pages do not load it again."""
    sign_in_endpoint: str | None = None
    """The endpoint of the host's sign-in page, which is given `next` (W11). None: the one that Flask-Login knows."""
    platform_name: str = "Vitesse"
    """The platform's name in the words of the screens."""
    time_zone: str = "Europe/London"
    """The zone in which the screens show times."""
    api_roles: Any = None
    """The catalogue of API roles: a sequence of `identity_clients.ApiRole`. None: the built-in one."""
    viewer_roles: tuple[str, ...] = ()
    """Host roles that may look at clients but change nothing (A2)."""
    secret_prefix: str = "vcs_"  # noqa: S105 - the beginning of every secret is none
    """What a generated secret starts with, so that scanners assign_used_ids a leaked one (S3)."""
    refuse_weak_secrets: bool = False
    """Refuse a weak secret, where the default only warns (S4)."""
    recent_sign_in_minutes: int = 30
    """How old a sign-in may be for creating a client or touching its secrets (W5); at most 30."""
    key_rotation_days: int = 90
    """For how many days a signing key signs before the next one takes over (T8); at most 90."""
    key_publish_hours: int = 24
    """For how many hours a signing key is published before it signs (T8); at least 1, less than it signs."""
    taken_id_answers_per_hour: int = 20
    """How often one actor is told "already in use" within an hour (A6); at most 20."""
    failures_per_client_and_address: int = 10
    """How many authentications of one client ID from one address may fail in five minutes (D2)."""
    failures_per_address: int = 30
    """How many authentications from one address may fail in five minutes, whatever the client ID (D2)."""
    tokens_per_client_and_minute: int = 0
    """How many tokens one client gets in a minute (D5); 0: as many as it asks for."""
    new_clients_per_account_and_hour: int = 0
    """How many clients one account may make in an hour (D5); 0: as many as it likes."""
    exports_per_actor_and_hour: int = 10
    """How many files one actor may export in an hour (D5)."""
    event_retention_days: int = 400
    """How old events become before `flask identity-clients purge` deletes them (L1); at least 400."""
    token_request_retention_days: int = 90
    """How old token requests and their counts become before `purge` deletes them (L1); at least 30."""
    throttle_storage_url: str = "memory://"
    """Where rate limits are counted: `memory://` in each process, or a `redis://` address shared by all."""
    trusted_proxies: int = 0
    """How many reverse proxies in front of us append to `X-Forwarded-For` (C5)."""
    trusted_hosts: tuple[str, ...] = ()
    """Names that the `Host` header may hold, `.example.com` for that and all below it (C5); none given: any."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Read the settings from a Flask configuration.

        :raises SettingsError: one is missing, unknown or unfit (T4, E6).
        """
        given = {name[len(PREFIX) :].lower(): value for name, value in config.items() if name.startswith(PREFIX)}
        known = {field.name: field for field in dataclasses.fields(cls)}
        for name in given:
            if name not in known:
                raise SettingsError(f"{PREFIX}{name.upper()} is not a setting of Identity Clients.")
        for name, field in known.items():
            if field.default is dataclasses.MISSING and not given.get(name):
                raise SettingsError(f"{PREFIX}{name.upper()} is missing. Set it before the application starts.")
        settings = cls(**given)
        settings._check()
        return settings

    def _check(self) -> None:
        parts = urlsplit(self.issuer)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise _unfit("issuer", "must be an https address without query or fragment")
        if parts.scheme == "http" and not (self.development and parts.hostname in ("localhost", "127.0.0.1", "::1")):
            raise _unfit("issuer", "must be https; plain http is for development on this machine only")
        if self.issuer.endswith("/"):
            raise _unfit("issuer", "must not end with a slash")
        if not self.database_url and self.engine is None:
            raise SettingsError(f"{PREFIX}DATABASE_URL is missing. Set it, or give {PREFIX}ENGINE.")
        if not self.url_prefix.startswith("/") or self.url_prefix.endswith("/"):
            raise _unfit("url_prefix", "must start with a slash and not end with one")
        if not _NAME.fullmatch(self.blueprint_name):
            raise _unfit("blueprint_name", "must be letters, digits and _, not beginning with a digit")
        if not _SECRET_PREFIX.fullmatch(self.secret_prefix):
            raise _unfit("secret_prefix", "must be 1 to 40 letters, digits, - or _, so that a secret stays within 100")
        if not 1 <= self.recent_sign_in_minutes <= 30:
            raise _unfit("recent_sign_in_minutes", "must be from 1 to 30")
        if not 1 <= self.key_rotation_days <= 90:
            raise _unfit("key_rotation_days", "must be from 1 to 90")
        if not 1 <= self.key_publish_hours < self.key_rotation_days * 24:
            raise _unfit("key_publish_hours", "must be 1 or more, and fewer than the hours for which a key signs")
        if not 1 <= self.taken_id_answers_per_hour <= 20:
            raise _unfit("taken_id_answers_per_hour", "must be from 1 to 20")
        for name in ("failures_per_client_and_address", "failures_per_address", "exports_per_actor_and_hour"):
            if getattr(self, name) < 1:
                raise _unfit(name, "must be 1 or more")
        for name in ("trusted_proxies", "tokens_per_client_and_minute", "new_clients_per_account_and_hour"):
            if getattr(self, name) < 0:
                raise _unfit(name, "must be 0 or more")
        if self.event_retention_days < 400:
            raise _unfit("event_retention_days", "must be 400 or more")
        if self.token_request_retention_days < 30:
            raise _unfit("token_request_retention_days", "must be 30 or more, since the screens show 30 days")
        if not self.throttle_storage_url.startswith(("memory://", "redis://", "rediss://", "unix://")):
            raise _unfit("throttle_storage_url", "must be memory:// or the address of a Redis, such as redis://host/0")
        if not all(_HOST.fullmatch(host) for host in self.trusted_hosts):
            raise _unfit("trusted_hosts", "must be names in small letters, without scheme and port")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise _unfit("time_zone", "must be a name of the IANA time zone database") from error
        self.peppers()
        self.encryption_keys()

    def peppers(self) -> dict[int, bytes]:
        """Return every pepper by its version, newest first.

        :raises SettingsError: one is shorter than 32 bytes, or a version occurs twice (S2).
        """
        peppers: dict[int, bytes] = {}
        for pair in self.pepper.split(","):
            version, colon, key = pair.strip().partition(":")
            if not colon or not version.isdecimal() or int(version) in peppers:
                raise _unfit("pepper", "must be version:key, each version once, such as 1:<43 random characters>")
            if len(key.encode()) < KEY_BYTES:
                raise _unfit("pepper", f"must hold keys of at least {KEY_BYTES} bytes; make one with {_MAKE_KEY}")
            peppers[int(version)] = key.encode()
        return peppers

    def encryption_keys(self) -> list[bytes]:
        """Return the 32 bytes under which signing keys are encrypted, then those under which they may still be.

        :raises SettingsError: one is not 32 bytes in base64url (T9).
        """
        return [_encryption_key(text.strip()) for text in self.key_encryption_key.split(",")]


def _encryption_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unfit("key_encryption_key", f"must be 32 bytes in base64url; make one with {_MAKE_KEY}") from error
    if len(key) != KEY_BYTES:
        raise _unfit("key_encryption_key", f"must be 32 bytes in base64url; make one with {_MAKE_KEY}")
    return key


_MAKE_KEY = 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'


def _unfit(name: str, mend: str) -> SettingsError:
    return SettingsError(f"{PREFIX}{name.upper()} {mend}.")
