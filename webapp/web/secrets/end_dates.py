"""The field of an end date: moments in the time zone of the screens."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from ...core.database.models import utc_now
from ...core.errors import FieldError
from ...core.i18n import gettext
from ...core.secrets.lifecycle import END_DATE_MAX_DAYS
from ...host import services
from ..i18n.times import Times

FIELD_FORMAT = "%Y-%m-%dT%H:%M"


def end_date_context(*, of_secret: bool = True) -> dict[str, Any]:
    """Return the template variables of the field.

    :param of_secret: whether it is of a secret, for which a setting may have a limit, and not of a key.
    """
    now, limit = utc_now(), services().settings.secret_max_days if of_secret else 0
    days = limit or END_DATE_MAX_DAYS
    return {
        "days": days,
        "is_limited": limit > 0,
        "least": field_value(now + timedelta(minutes=1)),
        "most": field_value(now + timedelta(days=days)),
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
