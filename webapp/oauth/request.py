"""Parse a request to the token, introspection or revocation endpoint, once, into one object."""

import binascii
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus
from wsgiref.types import WSGIEnvironment

from werkzeug.exceptions import RequestEntityTooLarge

from ..core.authentication.assertions import ASSERTION_TYPE, ClientAssertion, parse_assertion
from ..core.database.models import utc_now
from ..core.database.outcomes import Outcome
from ..core.secrets.generation import Secret
from ..host import Services
from ..http_request import address_of, is_secure, read_body, request_id_of
from ..settings import Settings
from .errors import ErrorKind, OAuthError

LOG = logging.getLogger(__name__)
BODY_BYTES_MAX = 8 * 1024
PARAMETERS_MAX = 50
FORM = "application/x-www-form-urlencoded"
BODY_ONLY = frozenset(
    {"client_id", "client_secret", "client_assertion", "client_assertion_type", "grant_type", "scope", "token"}
)


class Credentials(NamedTuple):
    """The client ID and the secret that a request carries."""

    client_id: str
    secret: Secret


class OAuthRequest(NamedTuple):
    """A parsed request.

    :param path: the path of its URL, for the log.
    :param parameters: the form parameters; one with an empty value counts as absent (P3).
    :param resources: the values of `resource`, the only parameter that may be repeated (RFC 8707 section 2).
    :param credentials: the client's ID and secret, or its assertion; None if they are missing or cannot be decoded.
    :param error: the first rule of the protocol that the request breaks (P1-P5, D1), None if it breaks none.
    :param address: the caller's IP address; None if it is unknown.
    :param is_secure: whether the request came over https.
    :param received_at: when it was parsed; every rule about time uses this moment.
    :param request_id: the ID that the response carries in `X-Request-ID`.
    """

    path: str
    parameters: Mapping[str, str]
    resources: Sequence[str]
    credentials: Credentials | ClientAssertion | None
    error: ErrorKind | None
    address: str | None
    is_secure: bool
    received_at: datetime
    request_id: str


def parse_request(environ: WSGIEnvironment, settings: Settings) -> OAuthRequest:
    """Return the request of a WSGI environment.

    A request that breaks a rule of the protocol is returned too, with the rule in `error`, since credentials that came
    over plain http are recorded whatever else is wrong (C6).
    """
    parameters: dict[str, str] = {}
    resources: Sequence[str] = ()
    credentials = error = None
    try:
        parameters, resources = _read_parameters(environ)
    except OAuthError as found:
        error = found.kind
    try:
        credentials = _read_credentials(environ.get("HTTP_AUTHORIZATION"), parameters)
    except OAuthError as found:
        error = error or found.kind
    return OAuthRequest(
        environ["PATH_INFO"],
        parameters,
        resources,
        credentials,
        error,
        address_of(environ, settings),
        is_secure(environ, settings),
        utc_now(),
        request_id_of(environ),
    )


def check_request(request: OAuthRequest, services: Services) -> None:
    """Refuse a request that came over plain http, or breaks a rule of the protocol.

    Credentials in a request over plain http are recorded as exposed (C6). In development plain http is allowed.

    :raises OAuthError: with the rule that the request breaks.
    """
    if not (request.is_secure or services.settings.development):
        if request.credentials is not None:
            LOG.warning(
                "Credentials were sent over plain http. If a proxy in front terminates TLS, the likely causes are:"
                " it does not send X-Forwarded-Proto; the WSGI server drops it (waitress needs trusted_proxy and"
                " trusted_proxy_headers); neither ProxyFix nor IDENTITY_CLIENTS_TRUSTED_PROXIES is set.",
                extra={"path": request.path, "address": request.address},
            )
            services.recorder.record(
                None,
                Outcome.PLAIN_HTTP,
                None,
                client_id=request.credentials.client_id,
                at=request.received_at,
                address=request.address,
                scope="",
                request_id=request.request_id,
            )
        raise OAuthError(ErrorKind.PLAIN_HTTP)
    if request.error is not None:
        raise OAuthError(request.error)


def require_credentials(request: OAuthRequest) -> Credentials | ClientAssertion:
    """Return the credentials of a request.

    :raises OAuthError: it carries none that can be decoded.
    """
    if request.credentials is None:
        raise OAuthError(ErrorKind.INVALID_CLIENT)
    return request.credentials


def _read_parameters(environ: WSGIEnvironment) -> tuple[dict[str, str], Sequence[str]]:
    """Return the form parameters of a POST that have a value, and the values of `resource`.

    :raises OAuthError: the method or content type is wrong (P1), a parameter is in the query string (P2) or repeated
        (P3), the body cannot be decoded, or it has more than 8 KiB or 50 parameters (D1).
    """
    if environ["REQUEST_METHOD"] != "POST":
        raise OAuthError(ErrorKind.WRONG_METHOD)
    if environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != FORM:
        raise OAuthError(ErrorKind.WRONG_CONTENT_TYPE)
    query = environ.get("QUERY_STRING", "")
    if query and not BODY_ONLY.isdisjoint(name for name, _ in parse_qsl(query, keep_blank_values=True)):
        raise OAuthError(ErrorKind.PARAMETER_IN_QUERY)
    try:
        body = read_body(environ, BODY_BYTES_MAX)
    except RequestEntityTooLarge:
        raise OAuthError(ErrorKind.TOO_LARGE) from None
    if body.count(b"&") >= PARAMETERS_MAX:
        raise OAuthError(ErrorKind.TOO_LARGE)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise OAuthError(ErrorKind.NOT_UTF_8) from None
    resources: Sequence[str] = ()
    parameters = dict(pairs)
    if "resource" in parameters:
        resources = [value for name, value in pairs if name == "resource"]
        del parameters["resource"]
    if len(parameters) + len(resources) != len(pairs):
        raise OAuthError(ErrorKind.REPEATED_PARAMETER)
    return {name: value for name, value in parameters.items() if value}, resources


def _read_credentials(header: str | None, parameters: Mapping[str, str]) -> Credentials | ClientAssertion | None:
    """Return the client's ID and secret, from HTTP Basic or from the body (P4, P5), or its assertion (RFC 7521).

    Return None if there are none, or none that can be decoded.

    :param header: the `Authorization` header.
    :raises OAuthError: the request authenticates in two ways, or names two client IDs.
    """
    methods = (header is not None) + ("client_secret" in parameters) + ("client_assertion" in parameters)
    if methods > 1:
        raise OAuthError(ErrorKind.TWO_AUTHENTICATION_METHODS)
    client_id = parameters.get("client_id")
    if header is not None:
        credentials = _decode_basic(header)
        if credentials is not None and client_id is not None and client_id != credentials.client_id:
            raise OAuthError(ErrorKind.TWO_CLIENT_IDS)
        return credentials
    if "client_assertion" in parameters:
        return _read_assertion(parameters)
    if client_id is None or "client_secret" not in parameters:
        return None
    return Credentials(client_id, Secret(parameters["client_secret"]))


def _read_assertion(parameters: Mapping[str, str]) -> ClientAssertion | None:
    """Return the assertion of a request (RFC 7521 section 4.2).

    Return None if it has another type, is malformed, or is another client's than `client_id` says.
    """
    if parameters.get("client_assertion_type") != ASSERTION_TYPE:
        return None
    assertion = parse_assertion(parameters["client_assertion"])
    if assertion is not None and parameters.get("client_id", assertion.client_id) != assertion.client_id:
        return None
    return assertion


def _decode_basic(header: str) -> Credentials | None:
    """Return the credentials of a header of RFC 7617, both halves form-decoded once (RFC 6749 section 2.3.1).

    Return None if the header has another scheme, or is not Base64 or UTF-8.
    """
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = binascii.a2b_base64(encoded.strip(" "), strict_mode=True).decode().partition(":")
        if not colon:
            return None
        return Credentials(unquote_plus(client_id, errors="strict"), Secret(unquote_plus(secret, errors="strict")))
    except ValueError:
        return None
