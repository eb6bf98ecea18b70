"""Why an action on a secret is refused, or needs a confirmation."""

from datetime import datetime

from ..database.models import ClientSecret, IdentityClient
from ..errors import DomainError


class SecretActionRefused(DomainError):
    """Something cannot be done to a secret as things stand; nothing was changed.

    :param client: the client as it stands now.
    :param secret: the secret that it is about.
    """

    def __init__(self, client: IdentityClient, secret: ClientSecret) -> None:
        super().__init__(type(self).__name__)
        self.client = client
        self.secret = secret


class TwoActiveSecrets(SecretActionRefused):
    """Two secrets have not ended; the older one, `secret`, has to end before there can be another (S7)."""


class LastLiveSecret(SecretActionRefused):
    """It is the only secret that works, so it can be neither ended nor paused (S7)."""


class SecretHasEnded(SecretActionRefused):
    """It has ended, and stays so."""


class ConfirmationRequired(SecretActionRefused):
    """It can be done, once the person has read what follows from it."""


class SecretRecentlyUsed(ConfirmationRequired):
    """Something called with the secret within the last hour, and would be refused from now on.

    :ivar at: when it was used last.
    :ivar address: from where; None if nobody knows.
    """

    def __init__(self, client: IdentityClient, secret: ClientSecret, at: datetime) -> None:
        super().__init__(client, secret)
        self.at = at
        self.address = secret.last_used_address


class LastSecretWouldEnd(ConfirmationRequired):
    """Afterwards `secret` is the only one that works, and it has an end: no token is issued from then on (S8).

    :ivar ends_at: that end.
    """

    def __init__(self, client: IdentityClient, secret: ClientSecret, ends_at: datetime) -> None:
        super().__init__(client, secret)
        self.ends_at = ends_at
