"""Functions that change a client's secrets, with defaults for all parameters."""

from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine

from tests.support.factories import make_author, make_secrets
from webapp.core.database.models import ClientKey, ClientSecret, IdentityClient, utc_now
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.secrets.available_actions import SecretAction
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.lifecycle import apply_secret_action
from webapp.core.secrets.service import Overlap

NEXT = "the next secret of the client"


def change(
    engine: Engine, client: IdentityClient, secret: str = NEXT, *, refuse_weak: bool = False, **overrides: Any
) -> tuple[IdentityClient, ClientSecret]:
    """Change the secret, based on the version of `client`."""
    given: dict[str, Any] = {
        "author": make_author(),
        "key": client.id,
        "version": client.version,
        "secret": secret,
        "overlap": Overlap.DAY,
    }
    with unit_of_work(engine) as session:
        return make_secrets(refuse_weak=refuse_weak).change(session, **(given | overrides))


def leak(engine: Engine, client: IdentityClient, **overrides: Any) -> tuple[IdentityClient, Secret]:
    """Report the secrets of a client as leaked."""
    given: dict[str, Any] = {"author": make_author(), "key": client.id, "version": client.version}
    with unit_of_work(engine) as session:
        return make_secrets().replace_leaked(session, **(given | overrides))


def apply(action: SecretAction, engine: Engine, client: IdentityClient, label: str, **overrides: Any) -> IdentityClient:
    """Apply an action to one secret or key based on the version of `client`."""
    credentials: list[ClientSecret | ClientKey] = [*client.secrets, *client.keys]
    [secret] = [credential for credential in credentials if credential.label == label]
    given: dict[str, Any] = {
        "author": make_author(),
        "key": client.id,
        "version": client.version,
        "secret_id": secret.id,
        "action": action,
    }
    if action is SecretAction.SET_END_DATE:
        given["ends_at"] = utc_now() + timedelta(days=1)
    with unit_of_work(engine) as session:
        return apply_secret_action(session, **(given | overrides))


end, pause, resume, set_end = (partial(apply, action) for action in SecretAction)
