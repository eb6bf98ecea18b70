"""Authenticate and authorise a caller of the management API, a client with one of our access tokens (A9)."""

import re
from typing import NamedTuple

from flask import request
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from ..core.addresses import is_allowed
from ..core.audit.events import Author
from ..core.database.models import IdentityClient, utc_now
from ..core.database.unit_of_work import read_session
from ..core.tokens import revocation
from ..host import client_address, request_id, services
from .problems import Problem, ProblemRaised

# RFC 6750 section 2.1
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)\Z", re.IGNORECASE)
_CHALLENGE = 'Bearer realm="identity"'


class Caller(NamedTuple):
    """The client that sent the request.

    :param scopes: the scopes of its token that its roles still allow.
    :param roles: the keys of the API roles that it holds, with which alone it can act on other clients.
    :param api_is_allowed: whether its account allows the management API.
    :param author: the author of its changes, who can grant only the roles that it holds.
    """

    client: IdentityClient
    scopes: frozenset[str]
    roles: frozenset[str]
    api_is_allowed: bool
    author: Author


def authenticate() -> Caller:
    """Return the caller by the access token in `Authorization`, as client and account are stored at this moment (A7).

    :raises ProblemRaised: the token is missing, invalid, expired or revoked, its client is disabled or deleted or may
        not call from this address (A8), or the account's feature is off.
    :raises Unavailable: the database is unreachable (D8).
    """
    ours, given = services(), request.headers.get("Authorization", "")
    if not given.lower().startswith("bearer"):
        raise _unauthenticated("Send an access token as `Authorization: Bearer ...`.", _CHALLENGE)
    found = _BEARER.match(given)
    claims = ours.tokens.verify(found[1], ours.keys.for_header, utc_now()) if found else None
    if claims is None:
        raise _invalid_token()
    with read_session(ours.engine) as session:
        status = revocation.get_token_status(session, claims)
        if status is None or not status.is_active:
            raise _invalid_token()
        client = session.scalars(
            select(IdentityClient)
            .where(IdentityClient.id == status.client_key)
            .options(joinedload(IdentityClient.account))
        ).one()
    if not is_allowed(client.allowed_networks, client_address()):
        raise _invalid_token()
    roles = ours.catalogue.effective(client.roles, client.account.grantable_roles)
    keys = frozenset(role.key for role in roles)
    return Caller(
        client,
        frozenset(claims["scope"].split()).intersection(ours.catalogue.scopes(roles)),
        keys,
        client.account.management_api_enabled,
        Author(
            # With a prefix, since an actor of the host could have the same ID.
            actor_id=f"client:{client.id}",
            label=client.client_id,
            account_id=client.account_id,
            address=client_address(),
            request_id=request_id(),
            grantable_roles=keys,
        ),
    )


def authorise(caller: Caller, scope: str) -> None:
    """Refuse a caller whose account does not allow the API, or who lacks a scope.

    :raises ProblemRaised: with the reason.
    """
    if not caller.api_is_allowed:
        raise ProblemRaised(
            Problem.API_NOT_ALLOWED, "An administrator can allow it on the screen Identity Clients, under Settings."
        )
    if scope not in caller.scopes:
        raise ProblemRaised(
            Problem.SCOPE_MISSING,
            f"Request a token with the scope {scope}, which needs a role that opens it.",
            headers={"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope", scope="{scope}"'},
        )


def _invalid_token() -> ProblemRaised:
    return _unauthenticated("Request a new access token.", f'{_CHALLENGE}, error="invalid_token"')


def _unauthenticated(detail: str, challenge: str) -> ProblemRaised:
    return ProblemRaised(Problem.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": challenge})
