"""The domain's errors. Each that a person can mend names the form field that it belongs to."""

from collections.abc import Sequence

from .i18n import gettext

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


class RateLimited(DomainError):
    """A quota is used up.

    :param retry_after_seconds: whole seconds until it is free again.
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("throttled")
        self.retry_after_seconds = retry_after_seconds


class TooManyNewClients(RateLimited):
    """The account's quota of new clients is used up (D5)."""


class Unavailable(DomainError):
    """The database is locked or out of reach, or no place became free for a hash computation (D7, D8).

    :param retry_after_seconds: when to ask again.
    """

    def __init__(self, retry_after_seconds: int = DATABASE_RETRY_AFTER_SECONDS) -> None:
        super().__init__("busy")
        self.retry_after_seconds = retry_after_seconds


class SigningKeyUnusable(DomainError):
    """A stored signing key does not decrypt under its own key ID (T9)."""
