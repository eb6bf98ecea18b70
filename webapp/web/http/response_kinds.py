"""The kinds of responses of the screens. The kind decides headers and compression."""

from enum import Enum, auto

from flask import Response

SCREEN_HEADER = "X-Identity-Clients"


class ResponseKind(Enum):
    """What a response contains."""

    PAGE = auto()
    """A page, or a fragment of one."""
    SECRET = auto()
    """A page or fragment that shows a secret: stored nowhere and never compressed (S6, W14)."""
    DOWNLOAD = auto()
    """A file made for one request."""
    STATIC_FILE = auto()
    """A stylesheet or script, cached for a year under an address that changes with its content."""


class ScreenResponse(Response):
    """A response of the screens with its kind; a response of any other class counts as a page.

    By its header `SCREEN_HEADER` the script distinguishes it from responses of a proxy or of the host's other pages.
    """

    kind = ResponseKind.PAGE


def kind_of(response: Response) -> ResponseKind:
    """Return the kind of a response."""
    return response.kind if isinstance(response, ScreenResponse) else ResponseKind.PAGE
