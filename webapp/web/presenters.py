"""How values read on a screen."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ..core.models import utc_now
from ..core.words import gettext, ngettext

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Times:
    """Times in the words of the screens: in one zone, relative up to an hour.

    :param zone_name: a name of the IANA time zone database.
    """

    zone_name: str

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which times are shown."""
        return ZoneInfo(self.zone_name)

    @property
    def zone_label(self) -> str:
        """The zone in words, such as "London time (GMT)"."""
        city = self.zone_name.rpartition("/")[2].replace("_", " ")
        return f"{city} time ({utc_now().astimezone(self.zone):%Z})"

    def machine(self, at: datetime) -> str:
        """Return the time for a `datetime` attribute, in UTC."""
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def long(self, at: datetime) -> str:
        """Return date, clock time and zone: "4 March 2026, 09:12 GMT"."""
        local = at.astimezone(self.zone)
        return f"{local.day} {local:%B %Y, %H:%M %Z}"

    def clock(self, at: datetime) -> str:
        """Return clock time and zone: "11:42 GMT"."""
        return f"{at.astimezone(self.zone):%H:%M %Z}"

    def full(self, at: datetime) -> str:
        """Return the time with its zone, the day only where it is not today: "Today, 10:42 GMT"."""
        is_today = at.astimezone(self.zone).date() == utc_now().astimezone(self.zone).date()
        return gettext("Today, %(time)s", time=self.clock(at)) if is_today else self.long(at)

    def ago(self, at: datetime) -> str:
        """Return the time within a sentence: relative up to an hour, then date and time with zone."""
        minutes = (utc_now() - at) // MINUTE
        if not 0 <= minutes < 60:
            return gettext("on %(time)s", time=self.long(at))
        return ngettext("%(number)s minute ago", "%(number)s minutes ago", minutes) if minutes else gettext("just now")

    def day(self, at: datetime) -> str:
        """Return a day to come and its time within a sentence: "on Friday 27 November at 10:45 GMT"."""
        local = at.astimezone(self.zone)
        year = "" if local.year == utc_now().astimezone(self.zone).year else f" {local.year}"
        return gettext("on %(day)s at %(time)s", day=f"{local:%A} {local.day} {local:%B}{year}", time=self.clock(at))

    def short(self, at: datetime) -> str:
        """Return the time for a table: relative up to an hour, then as short as it stays plain."""
        now = utc_now()
        past = now - at
        if timedelta(0) <= past < HOUR:
            minutes = past // MINUTE
            return f"{minutes} min ago" if minutes else "Just now"
        local, today = at.astimezone(self.zone), now.astimezone(self.zone)
        days = (today.date() - local.date()).days
        if days == 0:
            return f"Today, {local:%H:%M}"
        if 0 < days < 7:
            return f"{local:%a, %H:%M}"
        if local.year == today.year:
            return f"{local.day} {local:%b, %H:%M}"
        return f"{local.day} {local:%b %Y, %H:%M}"
