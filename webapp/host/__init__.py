"""Integration with the host application.

* `actor`: the signed-in person, as the host describes them
* `application`: `Services`, the objects that all requests of one application share
* `configuration`: check the settings and the routes of the host
* `current_request`: the actor of the current request and what they may do, the request's ID and address
* `sign_in`: the host's sign-in, by default Flask-Login's
"""

from .actor import MANAGER_ROLES, Actor
from .application import EXTENSION, Services, TokenTrial, services
from .configuration import check_configuration, check_routes, own_configuration
from .current_request import (
    author_of,
    check_trusted_host,
    client_address,
    current_actor,
    may_view,
    permissions_of,
    request_id,
)
from .sign_in import BACKGROUND_HEADER, actor_from_flask_login, sign_in_url, unauthorized_response

__all__ = [
    "BACKGROUND_HEADER",
    "EXTENSION",
    "MANAGER_ROLES",
    "Actor",
    "Services",
    "TokenTrial",
    "actor_from_flask_login",
    "author_of",
    "check_configuration",
    "check_routes",
    "check_trusted_host",
    "client_address",
    "current_actor",
    "may_view",
    "own_configuration",
    "permissions_of",
    "request_id",
    "services",
    "sign_in_url",
    "unauthorized_response",
]
