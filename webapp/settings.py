"""Every `IDENTITY_CLIENTS_*` setting, with its default and meaning. An unknown one raises `SettingsError`."""

import base64
import binascii
import dataclasses
import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Any, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LOG = logging.getLogger(__name__)
PREFIX = "IDENTITY_CLIENTS_"
KEY_BYTES = 32
PERMISSIONS = frozenset({"create", "edit", "secrets", "delete"})
"""What a host role may be allowed to do with clients, besides viewing them."""
_HOST = re.compile(r"\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STORAGE_URL = re.compile(
    r"(memory|rediss?|unix)://|redis\+sentinel://([^/@]*@)?[^/@,]+:[0-9]{1,5}(,[^/@,]+:[0-9]{1,5})*/[^/?#]+$"
)
_ADDRESS = re.compile(r"\A[!-~]+@[A-Za-z0-9.-]+\Z")
_SECRET_PREFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")


class SettingsError(Exception):
    """A setting is missing, unknown or invalid. The message names it and says how to correct it, never its value."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a host, from `app.config`. A setting's name is `PREFIX` and the field's name in capitals."""

    issuer: str
    """The `iss` of every token and the base of the URLs in the metadata: https, no query, no fragment (T14)."""
    audience: str
    """The `aud` of every token: the API that accepts them (T4)."""
    pepper: str = dataclasses.field(repr=False)
    """Keys of the HMAC that is part of every secret's hash: `version:key` pairs, newest first, with commas (S2)."""
    key_encryption_key: str = dataclasses.field(repr=False)
    """32 bytes in base64url that encrypt the private signing keys (T9); further ones, after commas, only decrypt."""
    database_url: str | None = None
    """SQLAlchemy URL of the database. Required unless `engine` is given."""
    engine: Any = dataclasses.field(default=None, repr=False)
    """An SQLAlchemy engine of the host to use instead of a new one."""
    development: bool = False
    """Allow plain http on loopback. Only for a developer's own machine (C3)."""
    url_prefix: str = "/administration/identity-clients"
    """The URL prefix of the screens."""
    endpoint_prefix: str = "/connect"
    """The URL prefix of the three endpoints where clients authenticate: `/token`, `/introspect`, `/revocation`."""
    api_enabled: bool = False
    """Serve the management API. Each account still has to allow it."""
    api_prefix: str = "/api/identity-clients/v1"
    """The URL prefix of the management API."""
    blueprint_name: str = "identity_clients"
    """The name of the screens' blueprint, for `url_for`; those of endpoint and API end in `_endpoint` and `_api`."""
    host_loads_htmx: bool = False
    """Whether the host's base template loads htmx 4, so that our pages do not load it again."""
    sign_in_endpoint: str | None = None
    """The endpoint of the host's sign-in page, which gets the parameter `next` (W11). None: Flask-Login's."""
    platform_name: str = "Vitesse"
    """The platform's name in the texts of the screens."""
    api_docs_url: str | None = None
    """The URL of the documentation of the API that tokens open, for a link beside the code that requests one."""
    time_zone: str = "Europe/London"
    """The time zone in which the screens show times. UTC, with a warning, where no time zone data is installed."""
    api_roles: Any = None
    """The catalogue of API roles: a sequence of `identity_clients.ApiRole`. None: the built-in one."""
    viewer_roles: tuple[str, ...] = ()
    """Host roles that may view clients but not change them (A2)."""
    role_permissions: Any = None
    """Host roles with some of the permissions of a manager: a mapping of role to a collection of `PERMISSIONS`."""
    secret_prefix: str = "vcs_"  # noqa: S105 - a prefix is no secret
    """The prefix of generated secrets, by which scanners recognise a leaked one (S3)."""
    refuse_weak_secrets: bool = False
    """Refuse weak secrets instead of warning (S4)."""
    secret_max_days: int = 0
    """Within how many days of its creation every new secret ends; at most 365. 0: it needs no end date (S8)."""
    recent_sign_in_minutes: int = 30
    """The maximal age of a sign-in for creating a client or changing its secrets (W5); at most 30."""
    key_rotation_days: int = 90
    """For how many days a signing key signs before the next one replaces it (T8); at most 90."""
    key_publish_hours: int = 24
    """For how many hours a signing key is published before it signs (T8); at least 1, less than it signs."""
    taken_id_answers_per_hour: int = 20
    """How often one actor gets the answer "already in use" within an hour (A6); at most 20."""
    failures_per_client_and_address: int = 10
    """How many authentications of one client ID from one address may fail in five minutes (D2)."""
    failures_per_address: int = 30
    """How many authentications from one address may fail in five minutes, over all client IDs (D2)."""
    tokens_per_client_and_minute: int = 0
    """How many tokens one client gets in a minute (D5); 0: unlimited."""
    new_clients_per_account_and_hour: int = 0
    """How many clients one account may create in an hour (D5); 0: unlimited."""
    api_requests_per_client_and_minute: int = 600
    """How many requests one client may send to the management API in a minute (D5)."""
    exports_per_actor_and_hour: int = 10
    """How many files one actor may export in an hour (D5)."""
    event_retention_days: int = 400
    """The age in days at which `flask identity-clients purge` deletes audit events (L1); at least 400."""
    token_request_retention_days: int = 90
    """The age in days at which `purge` deletes counts of token requests (L1); at least 30."""
    request_log_days: int = 30
    """The age in days at which `purge` deletes the rows of the request log (L2)."""
    review_days: int = 180
    """After how many days without an access review a client is overdue (PCI DSS 4.0.1 7.2.5.1)."""
    review_reason: str = ""
    """Why that frequency was chosen; the access review shows it to auditors."""
    smtp_host: str | None = None
    """The mail server that sends notifications. None: no e-mail is sent."""
    smtp_port: int = 587
    smtp_security: str = "starttls"
    """How the connection to the mail server is encrypted: `starttls`, `tls` from the first byte, or `none`."""
    smtp_username: str | None = None
    """The user name at the mail server; None: e-mails are sent without signing in."""
    smtp_password: str | None = dataclasses.field(default=None, repr=False)
    mail_from: str | None = None
    """The sender of e-mails, such as `Vitesse <no-reply@vitesse.example>`. Required with `smtp_host`."""
    screens_url: str | None = None
    """The URL of the screens, for links in notifications. None: that of the issuer with `url_prefix`."""
    webhooks_to_private_networks: bool = False
    """Let webhooks be on private networks and loopback, and use plain http."""
    throttle_storage_url: str = "memory://"
    """Where rate limits are counted: `memory://` in each process, or a shared `redis://` or `redis+sentinel://` URL."""
    metrics_directory: str | None = None
    """A directory where the processes of a host add up their metrics. None: each process has its own."""
    trusted_proxies: int = 0
    """How many reverse proxies in front of the application append to `X-Forwarded-For` (C5)."""
    trusted_hosts: tuple[str, ...] = ()
    """Allowed names in the `Host` header; `.example.com` includes its subdomains (C5). Empty: any."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the settings in a Flask configuration.

        :raises SettingsError: one is missing, unknown or invalid (T4, E6).
        """
        given = {name[len(PREFIX) :].lower(): value for name, value in config.items() if name.startswith(PREFIX)}
        known = {field.name: field for field in dataclasses.fields(cls)}
        for name in given:
            if name not in known:
                raise SettingsError(f"{PREFIX}{name.upper()} is not a setting of Identity Clients.")
        if "time_zone" not in given and not _is_time_zone(str(known["time_zone"].default)):
            LOG.warning(
                "No time zone data is installed, so the screens show times in UTC."
                " Install the package tzdata, or set %sTIME_ZONE.",
                PREFIX,
            )
            given["time_zone"] = "UTC"
        for name, field in known.items():
            if field.default is dataclasses.MISSING and not given.get(name):
                raise SettingsError(f"{PREFIX}{name.upper()} is missing. Set it before the application starts.")
        settings = cls(**given)
        settings._check()
        return settings

    def _check(self) -> None:
        if not self.database_url and self.engine is None:
            raise SettingsError(f"{PREFIX}DATABASE_URL is missing. Set it, or give {PREFIX}ENGINE.")
        self._check_urls()
        self._check_host()
        self._check_secrets_and_keys()
        self._check_rate_limits()
        self._check_retention()
        self._check_notifications()

    def _check_urls(self) -> None:
        parts = urlsplit(self.issuer)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise _invalid("issuer", "must be an https address without query or fragment")
        if parts.scheme == "http" and not (self.development and parts.hostname in ("localhost", "127.0.0.1", "::1")):
            raise _invalid("issuer", "must be https; plain http is for development on this machine only")
        if self.issuer.endswith("/"):
            raise _invalid("issuer", "must not end with a slash")
        for name in ("url_prefix", "endpoint_prefix", "api_prefix"):
            prefix = getattr(self, name)
            if not prefix.startswith("/") or prefix.endswith("/"):
                raise _invalid(name, "must start with a slash and not end with one")
        if self.api_docs_url is not None and not re.fullmatch(r"https?://\S+", self.api_docs_url):
            raise _invalid("api_docs_url", "must be an http or https address")

    def _check_host(self) -> None:
        if not _NAME.fullmatch(self.blueprint_name):
            raise _invalid("blueprint_name", "must be letters, digits and _, not beginning with a digit")
        for permissions in self.permissions_by_role.values():
            if isinstance(permissions, str) or not PERMISSIONS.issuperset(permissions):
                raise _invalid("role_permissions", f"must map roles to lists of {', '.join(sorted(PERMISSIONS))}")
        if self.trusted_proxies < 0:
            raise _invalid("trusted_proxies", "must be 0 or more")
        if not all(_HOST.fullmatch(host) for host in self.trusted_hosts):
            raise _invalid("trusted_hosts", "must be names in small letters, without scheme and port")
        if not _is_time_zone(self.time_zone):
            raise _invalid("time_zone", "must be a name of the IANA time zone database; without one installed, UTC")
        if not 1 <= self.recent_sign_in_minutes <= 30:
            raise _invalid("recent_sign_in_minutes", "must be from 1 to 30")

    def _check_secrets_and_keys(self) -> None:
        if not _SECRET_PREFIX.fullmatch(self.secret_prefix):
            raise _invalid("secret_prefix", "must be 1 to 40 letters, digits, - or _, since a secret has at most 100")
        if not 0 <= self.secret_max_days <= 365:
            raise _invalid("secret_max_days", "must be from 1 to 365, or 0 for no limit")
        if not 1 <= self.key_rotation_days <= 90:
            raise _invalid("key_rotation_days", "must be from 1 to 90")
        if not 1 <= self.key_publish_hours < self.key_rotation_days * 24:
            raise _invalid("key_publish_hours", "must be 1 or more, and fewer than the hours for which a key signs")
        self.peppers()
        self.encryption_keys()

    def _check_rate_limits(self) -> None:
        if not 1 <= self.taken_id_answers_per_hour <= 20:
            raise _invalid("taken_id_answers_per_hour", "must be from 1 to 20")
        for name in (
            "failures_per_client_and_address",
            "failures_per_address",
            "exports_per_actor_and_hour",
            "api_requests_per_client_and_minute",
        ):
            if getattr(self, name) < 1:
                raise _invalid(name, "must be 1 or more")
        for name in ("tokens_per_client_and_minute", "new_clients_per_account_and_hour"):
            if getattr(self, name) < 0:
                raise _invalid(name, "must be 0 or more")
        if not _STORAGE_URL.match(self.throttle_storage_url):
            raise _invalid(
                "throttle_storage_url",
                "must be memory://, the address of a Redis, such as redis://host/0, or the addresses of its Sentinels"
                " and its name there, such as redis+sentinel://one:26379,two:26379/name",
            )

    def _check_retention(self) -> None:
        if self.event_retention_days < 400:
            raise _invalid("event_retention_days", "must be 400 or more")
        if self.token_request_retention_days < 30:
            raise _invalid("token_request_retention_days", "must be 30 or more, since the screens show 30 days")
        if self.request_log_days < 1:
            raise _invalid("request_log_days", "must be 1 or more")
        if not 1 <= self.review_days <= 3650:
            raise _invalid("review_days", "must be from 1 to 3650")

    def _check_notifications(self) -> None:
        if self.smtp_host and not (self.mail_from and _ADDRESS.search(parseaddr(self.mail_from)[1])):
            raise _invalid("mail_from", "must be an e-mail address, with or without a name, where SMTP_HOST is set")
        if not 1 <= self.smtp_port <= 65535:
            raise _invalid("smtp_port", "must be from 1 to 65535")
        if self.smtp_security not in ("starttls", "tls", "none"):
            raise _invalid("smtp_security", "must be starttls, tls or none")
        if self.smtp_username and self.smtp_security == "none":
            raise _invalid("smtp_security", "must not be none with SMTP_USERNAME, whose password would be readable")
        if self.screens_url is not None and (
            not re.fullmatch(r"https?://[^\s?#]+", self.screens_url) or self.screens_url.endswith("/")
        ):
            raise _invalid("screens_url", "must be an http or https address without a slash at the end")

    @property
    def permissions_by_role(self) -> Mapping[str, Collection[str]]:
        """The setting `role_permissions`, empty where it is not set.

        :raises SettingsError: it is no mapping.
        """
        given = self.role_permissions or {}
        if not isinstance(given, Mapping):
            raise _invalid("role_permissions", "must be a mapping of host roles to permissions")
        return given

    @property
    def token_path(self) -> str:
        """The path of the token endpoint."""
        return f"{self.endpoint_prefix}/token"

    @property
    def introspection_path(self) -> str:
        """The path of the introspection endpoint."""
        return f"{self.endpoint_prefix}/introspect"

    @property
    def revocation_path(self) -> str:
        """The path of the revocation endpoint."""
        return f"{self.endpoint_prefix}/revocation"

    def peppers(self) -> dict[int, bytes]:
        """Return the peppers by version, newest first.

        :raises SettingsError: one is malformed or shorter than 32 bytes, or a version occurs twice (S2).
        """
        peppers: dict[int, bytes] = {}
        for pair in self.pepper.split(","):
            version, colon, key = pair.strip().partition(":")
            if not colon or not version.isdecimal() or int(version) in peppers:
                raise _invalid("pepper", "must be version:key, each version once, such as 1:<43 random characters>")
            if len(key.encode()) < KEY_BYTES:
                raise _invalid("pepper", f"must hold keys of at least {KEY_BYTES} bytes; make one with {_MAKE_KEY}")
            peppers[int(version)] = key.encode()
        return peppers

    def encryption_keys(self) -> list[bytes]:
        """Return the keys of 32 bytes that decrypt signing keys; the first one encrypts them too.

        :raises SettingsError: one is not 32 bytes in base64url (T9).
        """
        return [_encryption_key(text.strip()) for text in self.key_encryption_key.split(",")]


def _is_time_zone(name: str) -> bool:
    """Return whether a time zone is known; UTC needs no installed data."""
    try:
        return name == "UTC" or bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError):
        return False


def _encryption_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("key_encryption_key", f"must be 32 bytes in base64url; make one with {_MAKE_KEY}") from error
    if len(key) != KEY_BYTES:
        raise _invalid("key_encryption_key", f"must be 32 bytes in base64url; make one with {_MAKE_KEY}")
    return key


_MAKE_KEY = 'python3 -c "import secrets; print(secrets.token_urlsafe(32))"'


def _invalid(name: str, rule: str) -> SettingsError:
    return SettingsError(f"{PREFIX}{name.upper()} {rule}.")
