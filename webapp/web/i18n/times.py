"""How values read on a screen."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ...core.database.models import utc_now
from ...core.i18n import gettext, ngettext
from .formats import Formats
from .language import language

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Times:
    """Times in the words of the screens: in one zone, relative up to an hour.

    :param zone_name: a name of the IANA time zone database.
    :param formats: those of the request's language.
    """

    zone_name: str
    formats: Formats = field(default_factory=lambda: language().formats)

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which times are shown."""
        return ZoneInfo(self.zone_name)

    @property
    def zone_label(self) -> str:
        """The zone in words, such as "London time (GMT)"."""
        zone = self.formats.zone(utc_now().astimezone(self.zone))
        return gettext("%(city)s time (%(zone)s)", city=self.formats.city(self.zone_name), zone=zone)

    def machine(self, at: datetime) -> str:
        """Return the time for a `datetime` attribute, in UTC."""
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def long(self, at: datetime) -> str:
        """Return date, clock time and zone: "4 March 2026, 09:12 GMT"."""
        return self.formats.date_and_time(self.formats.long_date(at.astimezone(self.zone)), self.clock(at))

    def clock(self, at: datetime) -> str:
        """Return clock time and zone: "11:42 GMT"."""
        local = at.astimezone(self.zone)
        return f"{self.formats.time(local)} {self.formats.zone(local)}"

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
        return gettext("on %(time)s", time=self.moment(at))

    def short(self, at: datetime) -> str:
        """Return the time for a table: relative up to an hour, then as short as it stays plain."""
        now = utc_now()
        past = now - at
        if timedelta(0) <= past < HOUR:
            minutes = past // MINUTE
            return ngettext("%(number)s min ago", "%(number)s min ago", minutes) if minutes else gettext("Just now")
        local, today = at.astimezone(self.zone), now.astimezone(self.zone)
        days, time = (today.date() - local.date()).days, self.formats.time(local)
        if days == 0:
            return gettext("Today, %(time)s", time=time)
        if 0 < days < 7:
            return self.formats.date_and_time(self.formats.short_weekday(local), time)
        if local.year == today.year:
            return self.formats.date_and_time(self.formats.short_day(local), time)
        return self.formats.date_and_time(self.formats.short_date(local), time)

    def exact(self, at: datetime) -> str:
        """Return the time to the second, for a table: "Today, 10:42:07", "Wed 18 Nov, 16:03:09"."""
        local, today = at.astimezone(self.zone), utc_now().astimezone(self.zone)
        time = self.formats.time_with_seconds(local)
        if local.date() == today.date():
            return gettext("Today, %(time)s", time=time)
        return self.formats.date_and_time(self.formats.short_weekday_and_day(local), time)

    def moment(self, at: datetime) -> str:
        """Return day, clock time and zone: "Tuesday 24 November at 10:45 GMT"."""
        local = at.astimezone(self.zone)
        this_year = local.year == utc_now().astimezone(self.zone).year
        day = self.formats.weekday_and_day(local) if this_year else self.formats.weekday_and_date(local)
        return gettext("%(day)s at %(time)s", day=day, time=self.clock(at))

    def today_or_moment(self, at: datetime) -> str:
        """Return what `moment` does, for today in words: "Today at 11:45 GMT"."""
        if at.astimezone(self.zone).date() == utc_now().astimezone(self.zone).date():
            return gettext("Today at %(time)s", time=self.clock(at))
        return self.moment(at)

    def until(self, at: datetime) -> str:
        """Return how long it is to a time to come, rounded up: "in 4 days"."""
        left = at - utc_now()
        minutes, hours = -(-left // MINUTE), -(-left // HOUR)
        if minutes < 60:
            return ngettext("in %(number)s minute", "in %(number)s minutes", minutes)
        if hours < 48:
            return ngettext("in %(number)s hour", "in %(number)s hours", hours)
        return ngettext("in %(number)s day", "in %(number)s days", -(-left // DAY))
