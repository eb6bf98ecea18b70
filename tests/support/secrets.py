"""The calls that change a client's secrets, with defaults for all that a test is not about."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine

from tests.support.factories import HASHER, make_author
from webapp.core.database.models import ClientSecret, IdentityClient, utc_now
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.secrets.lifecycle import end_secret, pause_secret, resume_secret, set_end_date
from webapp.core.secrets.rotation import Overlap, change_secret, replace_leaked_secret

NEXT = "the next secret of the client"


def change(
    engine: Engine, client: IdentityClient, secret: str = NEXT, **overrides: Any
) -> tuple[IdentityClient, ClientSecret]:
    """Change the secret as an administrator does who sees `client`."""
    given: dict[str, Any] = {
        "author": make_author(),
        "key": client.id,
        "version": client.version,
        "secret": secret,
        "overlap": Overlap.DAY,
        "hasher": HASHER,
    }
    with unit_of_work(engine) as session:
        return change_secret(session, **(given | overrides))


def leak(engine: Engine, client: IdentityClient, **overrides: Any) -> tuple[IdentityClient, ClientSecret]:
    """Report the secrets of a client as leaked."""
    given: dict[str, Any] = {
        "author": make_author(),
        "key": client.id,
        "version": client.version,
        "secret": NEXT,
        "hasher": HASHER,
    }
    with unit_of_work(engine) as session:
        return replace_leaked_secret(session, **(given | overrides))


ONE_SECRET: tuple[Callable[..., IdentityClient], ...] = (end_secret, pause_secret, resume_secret, set_end_date)


def touch(
    function: Callable[..., IdentityClient], engine: Engine, client: IdentityClient, label: str, **overrides: Any
) -> IdentityClient:
    """Do something to one secret as an administrator does who sees `client`."""
    [secret] = [secret for secret in client.secrets if secret.label == label]
    given = {"author": make_author(), "key": client.id, "version": client.version, "secret_id": secret.id}
    if function is set_end_date:
        given["ends_at"] = utc_now() + timedelta(days=1)
    with unit_of_work(engine) as session:
        return function(session, **(given | overrides))


end, pause, resume, set_end = (partial(touch, function) for function in ONE_SECRET)
