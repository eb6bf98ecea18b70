"""Credentials come over https, or they are not looked at (C6)."""

import logging
from contextlib import suppress

from flask import request
from werkzeug.exceptions import HTTPException

from ..core.models import utc_now
from ..core.usage import Outcome
from ..host import client_address, is_secure, services
from .parameters import Credentials, read_credentials, read_parameters
from .responses import Refusal, Refused

LOG = logging.getLogger(__name__)


def refuse_plain_http() -> None:
    """Refuse a request over plain http, and record whose credentials it exposed to everybody on its way.

    :raises Refused: it came over plain http.
    """
    if is_secure():
        return
    credentials, address = _sent(), client_address()
    if credentials is not None:
        LOG.warning(
            "credentials were sent over plain http: if a proxy ends TLS, set IDENTITY_CLIENTS_TRUSTED_PROXIES",
            extra={"path": request.path, "address": address},
        )
        services().recorder.note(
            None,
            Outcome.PLAIN_HTTP,
            None,
            client_id=credentials.client_id,
            at=utc_now(),
            address=address,
            scope="",
        )
    raise Refused(Refusal.PLAIN_HTTP)


def _sent() -> Credentials | None:
    parameters: dict[str, str] = {}
    with suppress(Refused, HTTPException):
        parameters = read_parameters()
    with suppress(Refused):
        return read_credentials(parameters)
    return None
