"""The parameters in the statements of this package, and their values."""

from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, bindparam
from sqlalchemy.orm import Session

from ...database.models import utc_now
from ..attention import ENDING_WITHIN_DAYS, IDLE_DAYS, OLD_DAYS, TWO_SECRETS_DAYS, UNUSED_DAYS, rules_of

_DAY = timedelta(days=1)


class Terms(NamedTuple):
    """What rows are compared with to find the clients of one reason: values, or the parameters that stand for them.

    :param keys_only_roles: a collection of API roles.
    :param unreviewed_since: the last creation of clients that are overdue without any review.
    :param reviewed_until: the last review of clients that are overdue since.
    """

    account_id: Any
    keys_only_roles: Any
    now: Any
    today: Any
    old_since: Any
    two_since: Any
    unused_since: Any
    idle_since: Any
    unreviewed_since: Any
    reviewed_until: Any


TERMS = Terms(*(bindparam(name, expanding=name == "keys_only_roles") for name in Terms._fields))


def values_of(session: Session, account_id: str) -> dict[str, Any]:
    """Return the present values of the parameters in all statements and conditions of this package."""
    now, rules = utc_now(), rules_of(session, account_id)
    overdue_since = now - rules.overdue_days * _DAY
    terms = Terms(
        account_id=account_id,
        # The roles themselves and not a SELECT of them, for which SQLite may read the roles of every client.
        keys_only_roles=sorted(rules.keys_only_roles) or [""],  # no role has an empty key
        now=now,
        today=now.date(),
        old_since=now - OLD_DAYS * _DAY,
        two_since=now - TWO_SECRETS_DAYS * _DAY,
        unused_since=now - UNUSED_DAYS * _DAY,
        idle_since=now - IDLE_DAYS * _DAY,
        unreviewed_since=overdue_since,
        reviewed_until=overdue_since,
    )
    return terms._asdict() | {within(days).key: now + days * _DAY for days in ENDING_WITHIN_DAYS}


def within(days: int) -> BindParameter[Any]:
    """Return the parameter for the time in so many days."""
    return bindparam(f"within_{days}_days")
