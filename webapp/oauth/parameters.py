"""Reading a request of the endpoint: its parameters and the client's credentials, each rule of P1-P5 in turn."""

import binascii
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus
from wsgiref.types import WSGIEnvironment

from ..core.secrets.generation import Secret
from ..http_request import read_body
from .answers import Refusal, Refused

BODY_BYTES_MAX = 8 * 1024
PARAMETERS_MAX = 50
FORM = "application/x-www-form-urlencoded"
BODY_ONLY = frozenset(
    {"client_id", "client_secret", "client_assertion", "client_assertion_type", "grant_type", "scope", "token"}
)


class Credentials(NamedTuple):
    """What a client showed."""

    client_id: str
    secret: Secret


def read_parameters(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the form parameters of a POST; one without a value counts as absent (P3).

    :raises Refused: wrong method or content type (P1), a parameter in the query string (P2), one that is there twice
        (P3), an undecodable body.
    :raises RequestEntityTooLarge: more than 8 KiB or 50 parameters (D1).
    """
    if environ["REQUEST_METHOD"] != "POST":
        raise Refused(Refusal.METHOD)
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != FORM:
        raise Refused(Refusal.CONTENT_TYPE)
    query = environ.get("QUERY_STRING", "")
    if query and not BODY_ONLY.isdisjoint(name for name, _ in parse_qsl(query, keep_blank_values=True)):
        raise Refused(Refusal.IN_QUERY)
    body = read_body(environ, BODY_BYTES_MAX)
    if body.count(b"&") >= PARAMETERS_MAX:
        raise Refused(Refusal.TOO_LARGE)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Refused(Refusal.NOT_UTF_8) from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise Refused(Refusal.REPEATED)
    return {name: value for name, value in pairs if value}


def read_credentials(environ: WSGIEnvironment, parameters: Mapping[str, str]) -> Credentials:
    """Return the client's ID and secret, from HTTP Basic or from the body (P4, P5).

    :raises Refused: they are missing or undecodable, or given in two ways.
    """
    header = environ.get("HTTP_AUTHORIZATION")
    ways = (header is not None) + ("client_secret" in parameters) + ("client_assertion" in parameters)
    if ways > 1:
        raise Refused(Refusal.TWO_CREDENTIALS)
    client_id = parameters.get("client_id")
    if header is not None:
        credentials = _basic(header)
        if client_id is not None and client_id != credentials.client_id:
            raise Refused(Refusal.TWO_CLIENT_IDS)
        return credentials
    if client_id is None or "client_secret" not in parameters:
        raise Refused(Refusal.CLIENT)
    return Credentials(client_id, Secret(parameters["client_secret"]))


def _basic(header: str) -> Credentials:
    """Decode a header of RFC 7617, whose halves are form-encoded once (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Refused(Refusal.CLIENT)
    try:
        pair = binascii.a2b_base64(encoded.strip(" "), strict_mode=True).decode()
        client_id, colon, secret = pair.partition(":")
        if not colon:
            raise Refused(Refusal.CLIENT)
        return Credentials(unquote_plus(client_id, errors="strict"), Secret(unquote_plus(secret, errors="strict")))
    except ValueError:  # not Base64, or not UTF-8
        raise Refused(Refusal.CLIENT) from None
