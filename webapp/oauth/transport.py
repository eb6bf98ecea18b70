"""Credentials come over https, or they are not looked at (C6)."""

import logging
from contextlib import suppress
from wsgiref.types import WSGIEnvironment

from werkzeug.exceptions import HTTPException

from ..core.database.models import utc_now
from ..core.database.outcomes import Outcome
from ..host import Services
from ..http_request import address_of, is_secure, request_id_of
from .answers import Refusal, Refused
from .parameters import Credentials, read_credentials, read_parameters

LOG = logging.getLogger(__name__)


def refuse_plain_http(environ: WSGIEnvironment, ours: Services) -> None:
    """Refuse a request over plain http, and record whose credentials it exposed to everybody on its way.

    In development it is let through.

    :raises Refused: it came over plain http.
    """
    if ours.settings.development or is_secure(environ, ours.settings):
        return
    credentials, address = _sent(environ), address_of(environ, ours.settings)
    if credentials is not None:
        LOG.warning(
            "credentials were sent over plain http: if a proxy ends TLS, set IDENTITY_CLIENTS_TRUSTED_PROXIES",
            extra={"path": environ["PATH_INFO"], "address": address},
        )
        ours.recorder.record(
            None,
            Outcome.PLAIN_HTTP,
            None,
            client_id=credentials.client_id,
            at=utc_now(),
            address=address,
            scope="",
            request_id=request_id_of(environ),
        )
    raise Refused(Refusal.PLAIN_HTTP)


def _sent(environ: WSGIEnvironment) -> Credentials | None:
    parameters: dict[str, str] = {}
    with suppress(Refused, HTTPException):
        parameters = read_parameters(environ)
    with suppress(Refused):
        return read_credentials(environ, parameters)
    return None
