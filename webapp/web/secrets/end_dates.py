"""The field of an end date: moments in the time zone of the screens."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from ...core.database.models import ClientKey, utc_now
from ...core.errors import FieldError
from ...core.i18n import gettext
from ...core.secrets.client_secrets import AnyCredential
from ...core.secrets.lifecycle import END_DATE_MAX_DAYS
from ...host import services
from ..i18n.times import Times

FIELD_FORMAT = "%Y-%m-%dT%H:%M"


def end_date_context(existing: AnyCredential | None = None) -> dict[str, Any]:
    """Return the template variables of the field.

    :param existing: the secret or key whose end date it is; None: a secret that is yet to be created.
    """
    now, times = utc_now(), Times(services().settings.time_zone)
    limit = 0 if isinstance(existing, ClientKey) else services().settings.secret_max_days
    days = limit or END_DATE_MAX_DAYS
    latest = now + timedelta(days=days)
    if not limit:
        hint = gettext("In %(zone)s, within %(days)s days. Empty: no end date.", zone=times.zone_label, days=days)
    elif existing is None:
        hint = gettext(
            "In %(zone)s, within %(days)s days. Empty: it ends after %(days)s days.", zone=times.zone_label, days=days
        )
    else:
        latest = existing.created_at + timedelta(days=limit)
        hint = gettext("Until %(moment)s at the latest.", moment=times.moment(latest))
    return {
        "end_date_hint": hint,
        "focuses_end_date": existing is not None,
        "least": field_value(now + timedelta(minutes=1)),
        "most": field_value(latest),
    }


def field_value(at: datetime | None) -> str:
    """Return a moment as the date field holds it, in the time zone of the screens; empty for None."""
    return "" if at is None else f"{at.astimezone(_zone()):{FIELD_FORMAT}}"


def parse_moment(text: str) -> datetime | None:
    """Return the moment that was typed in the time zone of the screens, in UTC; None if the field is empty.

    Of a local time that occurs twice, as clocks go back, return the first.

    :raises FieldError: the text is no date with a time, or a local time that does not exist, as clocks go forward.
    """
    if not text.strip():
        return None
    try:
        typed = datetime.fromisoformat(text.strip())
        local = typed.replace(tzinfo=_zone(), fold=0)
        moment = local.astimezone(UTC)
        exists = moment.astimezone(_zone()).replace(tzinfo=None, fold=0) == typed
    except (ValueError, OverflowError):
        raise FieldError("ends_at", gettext("Enter a date and a time, such as 2027-01-31T18:00.")) from None
    if typed.tzinfo is not None:
        raise FieldError("ends_at", gettext("Enter a date and a time, such as 2027-01-31T18:00."))
    if not exists:
        raise FieldError("ends_at", gettext("Clocks go forward past this time. Choose an earlier or a later one."))
    return moment


def _zone() -> tzinfo:
    return Times(services().settings.time_zone).zone
