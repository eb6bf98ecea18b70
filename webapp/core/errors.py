"""The domain's errors. Each that a person can mend names the form field that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from .words import gettext

if TYPE_CHECKING:
    from .models import ClientSecret, IdentityClient

DATABASE_RETRY_AFTER_SECONDS = 5


class DomainError(Exception):
    """Anything that a rule refuses."""


class FieldError(DomainError):
    """One field breaks one rule.

    :param field: the form field's name, such as `client_id`.
    :param message: what is wrong and how to mend it, a whole sentence, shown at the field.
    :param summary: the same in one short line for the list of errors on top.
    """

    def __init__(self, field: str, message: str, summary: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.summary = summary or message


class InvalidFields(DomainError):
    """One or more fields break rules; nothing was changed."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(error.field for error in errors))
        self.errors = tuple(errors)


class ClientIdTaken(FieldError):
    """The client ID is in use, or was; whose it is stays unsaid (A6)."""

    def __init__(self) -> None:
        super().__init__(
            "client_id",
            gettext("This client ID is already in use. Choose another."),
            gettext("Client ID is already in use: choose another"),
        )


class NotFound(DomainError):
    """There is no such client in this account, whether or not another account has one (A3)."""


class StaleVersion(DomainError):
    """The write was based on a version that is no longer the newest; nothing was changed (I7).

    :param current: the client as it stands now.
    """

    def __init__(self, current: IdentityClient) -> None:
        super().__init__("stale version")
        self.current = current


class AlreadyCreated(DomainError):
    """The same Create was sent before; nothing was made again, and no secret is shown again.

    :param client: what the first one made.
    """

    def __init__(self, client: IdentityClient) -> None:
        super().__init__("already created")
        self.client = client


class Throttled(DomainError):
    """A quota is used up.

    :param retry_after_seconds: whole seconds until it is free again.
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("throttled")
        self.retry_after_seconds = retry_after_seconds


class TooManyNewClients(Throttled):
    """The account's quota of new clients is used up (D5)."""


class SecretRefused(DomainError):
    """Something cannot be done to a secret as things stand; nothing was changed.

    :param client: the client as it stands now.
    :param secret: the secret that it is about.
    """

    def __init__(self, client: IdentityClient, secret: ClientSecret) -> None:
        super().__init__(type(self).__name__)
        self.client = client
        self.secret = secret


class TwoSecrets(SecretRefused):
    """Two secrets have not ended; the older one, `secret`, has to end before there can be another (S7)."""


class LastSecret(SecretRefused):
    """It is the only secret that works, so it can be neither ended nor paused (S7)."""


class SecretHasEnded(SecretRefused):
    """It has ended, and stays so."""


class NeedsConfirmation(SecretRefused):
    """It can be done, once the person has read what follows from it."""


class RecentlyUsed(NeedsConfirmation):
    """Something called with the secret within the last hour, and would be refused from now on.

    :ivar at: when it was used last.
    :ivar address: from where; None if nobody knows.
    """

    def __init__(self, client: IdentityClient, secret: ClientSecret, at: datetime) -> None:
        super().__init__(client, secret)
        self.at = at
        self.address = secret.last_used_address


class LastSecretEnds(NeedsConfirmation):
    """Afterwards `secret` is the only one that works, and it has an end: no token is issued from then on (S8).

    :ivar ends_at: that end.
    """

    def __init__(self, client: IdentityClient, secret: ClientSecret, ends_at: datetime) -> None:
        super().__init__(client, secret)
        self.ends_at = ends_at


class Busy(DomainError):
    """The database is locked or out of reach, or no place became free for a hash computation (D7, D8).

    :param retry_after_seconds: when to ask again.
    """

    def __init__(self, retry_after_seconds: int = DATABASE_RETRY_AFTER_SECONDS) -> None:
        super().__init__("busy")
        self.retry_after_seconds = retry_after_seconds


class KeyUnusable(DomainError):
    """A stored signing key does not decrypt under its own key ID (T9)."""
