"""The errors that core raises. Each error that a person can correct names the form field that it belongs to."""

from collections.abc import Sequence

from .i18n import gettext

DATABASE_RETRY_AFTER_SECONDS = 5


class DomainError(Exception):
    """Base of every error that core raises on purpose."""


class FieldError(DomainError):
    """The value of one field breaks a rule.

    :param field: the form field's name, such as `client_id`.
    :param message: what is wrong and how to correct it, a whole sentence, shown at the field.
    :param summary: the same in one short line for the list of errors on top of the form.
    """

    def __init__(self, field: str, message: str, summary: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.summary = summary or message

    @property
    def errors(self) -> tuple["FieldError", ...]:
        """Return this error alone, as `InvalidFields` returns several."""
        return (self,)


class InvalidFields(DomainError):
    """The values of one or more fields break rules; nothing was changed."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(error.field for error in errors))
        self.errors = tuple(errors)


class ClientIdTaken(FieldError):
    """The client ID is, or was, another client's; the message does not say whose (A6)."""

    def __init__(self) -> None:
        super().__init__(
            "client_id",
            gettext("This client ID is already in use. Choose another."),
            gettext("Client ID is already in use: choose another"),
        )


class NotFound(DomainError):
    """The account has no such object, whether or not another account has one (A3)."""


class RateLimited(DomainError):
    """A rate limit or quota is used up.

    :param retry_after_seconds: whole seconds until one more use is allowed.
    """

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("rate limited")
        self.retry_after_seconds = retry_after_seconds


class TooManyNewClients(RateLimited):
    """The account's quota of new clients is used up (D5)."""


class Unavailable(DomainError):
    """The database is locked or unreachable, or every slot for hash computations stays taken (D7, D8).

    :param retry_after_seconds: when to try again.
    """

    def __init__(self, retry_after_seconds: int = DATABASE_RETRY_AFTER_SECONDS) -> None:
        super().__init__("unavailable")
        self.retry_after_seconds = retry_after_seconds


class NotWritable(Unavailable):
    """The database can be read but not written now: it is read-only, or its disk is full (D8)."""


class SigningKeyUnusable(DomainError):
    """A stored signing key does not decrypt under its own key ID (T9)."""
