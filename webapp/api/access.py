"""Check which clients a caller may change, and which roles it may grant (A9)."""

from collections.abc import Collection

from ..core.client_changes import get_client
from ..core.database.models import IdentityClient
from ..host import services
from .operations import Call
from .problems import Problem, ProblemRaised


def client_to_change(call: Call, *, only_takes_away: bool = False) -> IdentityClient:
    """Return the client in the path, if the caller may change it.

    A caller needs every role of the client: with a new secret, or more allowed networks, it could act with them.

    :param only_takes_away: whether the change only removes access, such as disabling, which needs no role.
    :raises NotFound: the account has no such client.
    :raises ProblemRaised: it is the caller itself, or has a role that the caller does not hold.
    """
    client = get_client(call.session, account_id=call.account_id, key=call.key)
    if client.id == call.caller.client.id:
        raise ProblemRaised(Problem.OWN_CLIENT, "Let another client, or an administrator on the screens, do this.")
    missing = client.roles - call.caller.client.roles
    if missing and not only_takes_away:
        raise _role_not_held(missing)
    return client


def check_roles_to_grant(call: Call, roles: Collection[str]) -> None:
    """Refuse roles that the caller does not hold itself; one that does not exist is left to core.

    :raises ProblemRaised: with the roles that it does not hold.
    """
    missing = {key for key in roles if key in services().catalogue} - call.caller.roles
    if missing:
        raise _role_not_held(missing)


def _role_not_held(missing: Collection[str]) -> ProblemRaised:
    detail = f"You do not hold {', '.join(sorted(missing))}."
    return ProblemRaised(Problem.ROLE_NOT_HELD, detail, errors=[{"detail": detail, "pointer": "#/roles"}])
