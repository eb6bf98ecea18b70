"""A response whose headers the hooks of the host cannot change, for the endpoint and the management API."""

from collections.abc import Iterable, Mapping
from wsgiref.types import WSGIEnvironment

from flask import Response

_FOREIGN_HEADERS = ("set-cookie", "access-control-")


class FinalResponse(Response):
    """A response of Flask that sets its headers last, after every hook and the session (P13, W15, W16).

    :param headers: with `Content-Type`, unless the body is empty.
    """

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(body, status, content_type=headers.get("Content-Type"))
        self._final_headers = list(headers.items())
        self._final_names = frozenset(map(str.lower, headers))
        if status == 204:  # has no content, and so no length (RFC 9110 section 8.6)
            self._final_names |= {"content-type", "content-length"}

    def get_wsgi_response(self, environ: WSGIEnvironment) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Return body, status and headers, without cookies and cross-origin headers of the host.

        The list is built in one pass, since `Headers.set` searches all headers each time: 2 us in place of 6.
        """
        kept = [
            (name, value)
            for name, value in self.headers
            if (lower := name.lower()) not in self._final_names and not lower.startswith(_FOREIGN_HEADERS)
        ]
        return self.get_app_iter(environ), self.status, kept + self._final_headers
