"""Read what every part needs of an HTTP request: the body, the caller's address, the scheme, the host, the IDs.

Functions of one request take the WSGI environment, except for `restore_body`, so that they also serve the middleware
that runs before Flask.
"""

import random
import re
import uuid
from functools import lru_cache
from io import BytesIO
from typing import cast
from urllib.parse import urlencode
from wsgiref.types import WSGIEnvironment

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.utils import get_content_length

from .core.addresses import canonical_address
from .core.errors import NotFound
from .settings import Settings

_ADDRESS_CHARACTERS_MAX = 64
_HOSTS_CACHED_MAX = 64
_PORT = re.compile(r":[0-9]*\Z")
_REQUEST_ID_KEY = "identity_clients.request_id"
# A UUID, or as many hexadecimal digits without hyphens, as nginx sends.
_REQUEST_ID = re.compile(r"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\Z")


def request_id_of(environ: WSGIEnvironment) -> str:
    """Return the request's id: the caller's `X-Request-ID` if it has the form of a UUID, else a random one (L6).

    Other forms could hold a message or a secret, and the id is kept with the request, also an unauthenticated one (L3).
    The id is kept in the environment, so every call for one request returns the same.
    """
    known: str | None = environ.get(_REQUEST_ID_KEY)
    if known is None:
        given = environ.get("HTTP_X_REQUEST_ID")
        if given is None or not _REQUEST_ID.match(given):
            given = f"{random.getrandbits(128):032x}"
        known = environ[_REQUEST_ID_KEY] = given
    return known


def address_of(environ: WSGIEnvironment, settings: Settings) -> str | None:
    """Return the caller's IP address in canonical form: the peer's, or the one that the outermost trusted proxy saw.

    Only as many entries of `X-Forwarded-For` count, from the right, as there are trusted proxies (C5). Return None if
    the result is not an IP address, as with a Unix socket.
    """
    hops, address, header = settings.trusted_proxies, environ.get("REMOTE_ADDR"), environ.get("HTTP_X_FORWARDED_FOR")
    if hops and header is not None:
        forwarded = header.split(",")
        if len(forwarded) >= hops:
            address = forwarded[-hops]
    return canonical_address((address or "").strip()[:_ADDRESS_CHARACTERS_MAX])


def is_secure(environ: WSGIEnvironment, settings: Settings) -> bool:
    """Return whether the request came over https, to this server or to the trusted proxy nearest to it (C6)."""
    if environ["wsgi.url_scheme"] == "https":
        return True
    forwarded = environ.get("HTTP_X_FORWARDED_PROTO", "") if settings.trusted_proxies else ""
    return forwarded.rpartition(",")[2].strip().lower() == "https"


def is_trusted_host(environ: WSGIEnvironment, settings: Settings) -> bool:
    """Return whether the `Host` header names a trusted host; any is trusted if the settings name none (C5)."""
    trusted = settings.trusted_hosts
    return not trusted or _is_trusted(environ.get("HTTP_HOST", ""), trusted)


@lru_cache(_HOSTS_CACHED_MAX)
def _is_trusted(header: str, trusted: tuple[str, ...]) -> bool:
    name = _PORT.sub("", header).lower()
    return any(name == host or (host[0] == "." and f".{name}".endswith(host)) for host in trusted)


def read_body(environ: WSGIEnvironment, limit_bytes: int) -> bytes:
    """Return the whole request body, and put it back so that the form parser can read it again.

    Werkzeug truncates a chunked body at its limit without an error, so the limit is checked here (D1).

    :raises RequestEntityTooLarge: the body is longer than the limit.
    """
    length = get_content_length(environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING"))
    if length is not None and length > limit_bytes:
        raise RequestEntityTooLarge
    stream = environ["wsgi.input"]
    if length is not None:
        body = stream.read(length)
    else:
        body = stream.read(limit_bytes + 1) if environ.get("wsgi.input_terminated") else b""
    if len(body) > limit_bytes:
        raise RequestEntityTooLarge
    _replace_body(environ, body)
    return cast(bytes, body)


def restore_body() -> None:
    """Put the body of Flask's current request back, if a hook of the host has already read it.

    The server's stream is exhausted then, and reading it again could block forever.
    """
    seen = vars(request)
    if "form" in seen or "_cached_data" in seen:
        body = request.get_data() or urlencode([*request.form.items(multi=True)]).encode()
        _replace_body(request.environ, body)


def parse_key(text: str) -> uuid.UUID:
    """Return the key of a row from a URL.

    A URL converter would answer with the 404 page of the host, which differs from that of an absent row (A3).

    :raises NotFound: the text is not a UUID in its canonical form.
    """
    try:
        key = uuid.UUID(text)
    except ValueError:
        raise NotFound from None
    if str(key) != text:
        raise NotFound
    return key


def _replace_body(environ: WSGIEnvironment, body: bytes) -> None:
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
