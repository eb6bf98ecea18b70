"""Errors of the actions on a secret or key: refused, or to be confirmed first."""

from datetime import datetime

from ..database.models import IdentityClient
from ..errors import DomainError, FieldError
from ..i18n import gettext
from .client_secrets import AnyCredential


class SecretActionRefused(DomainError):
    """The action is not possible in the present state; nothing was changed.

    :param client: the client as it is stored, detached from its session.
    :param secret: the secret or key that the refusal is about.
    """

    def __init__(self, client: IdentityClient, secret: AnyCredential) -> None:
        super().__init__(type(self).__name__)
        self.client = client
        self.secret = secret


class TwoActiveSecrets(SecretActionRefused):
    """Two secrets have not ended; the older one, `secret`, must end before another is added (S7)."""


class LastLiveSecret(SecretActionRefused):
    """The only live secret or key can be neither ended nor paused (S7)."""


class SecretHasEnded(SecretActionRefused):
    """The secret or key has ended, and stays so."""


class TooManyKeys(SecretActionRefused):
    """As many keys as a client may have have not ended; one of them must end before another is added (S11)."""


class ConfirmationRequired(SecretActionRefused):
    """The action is possible once the person has confirmed its consequence."""


class SecretRecentlyUsed(ConfirmationRequired):
    """The secret or key was used within the last hour; its caller would be refused from now on.

    :ivar at: when it was last used.
    :ivar address: the caller's address, or None if it is unknown.
    """

    def __init__(self, client: IdentityClient, secret: AnyCredential, at: datetime) -> None:
        super().__init__(client, secret)
        self.at = at
        self.address = secret.last_used_address


class LastSecretWouldEnd(ConfirmationRequired):
    """Afterwards no live secret or key is without an end date; `secret` ends last, and no token is issued then (S8).

    :ivar ends_at: when that is.
    """

    def __init__(self, client: IdentityClient, secret: AnyCredential, ends_at: datetime) -> None:
        super().__init__(client, secret)
        self.ends_at = ends_at


class SecretNotAllowed(FieldError):
    """The account forbids secrets to clients with roles that move money; the field is `client_secret`."""

    def __init__(self) -> None:
        super().__init__(
            "client_secret",
            gettext("Clients that move money have no secret in your account. Add a key in its place."),
            gettext("Secret is not allowed for a client that moves money: add a key"),
        )
