"""Format dates and times for the screens, in the locale of the request and the configured time zone."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from babel import Locale, dates
from babel.dates import DateTimePattern

from ...core.database.models import utc_now
from ...core.i18n import gettext, ngettext
from .language import current_language

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Times:
    """Formats of dates and times in one time zone; times of the last hour are relative to now.

    :param zone_name: a name of the IANA time zone database.
    :param locale: the locale of the request by default.
    """

    zone_name: str
    locale: Locale = field(default_factory=lambda: current_language().locale)

    @property
    def zone(self) -> tzinfo:
        """The zone in which times are shown. UTC needs no time zone data."""
        return UTC if self.zone_name == "UTC" else ZoneInfo(self.zone_name)

    @property
    def zone_label(self) -> str:
        """The name of the zone: "London time", "UTC". It holds in summer and winter."""
        if self.zone is UTC:
            return self._zone_of(self._local(utc_now()))
        city = dates.get_timezone_location(self.zone_name, self.locale, return_city=True)
        # Translators: such as "London time".
        return gettext("%(city)s time", city=city)

    def machine(self, at: datetime) -> str:
        """Return the time for a `datetime` attribute, in UTC."""
        return f"{at.replace(tzinfo=None).isoformat(timespec='seconds')}Z"

    def long(self, at: datetime) -> str:
        """Return date, clock time and zone: "4 March 2026, 09:12 GMT"."""
        return self._join(dates.format_date(self._local(at), "long", self.locale), self.clock(at))

    def precise(self, at: datetime) -> str:
        """Return date, clock time to the second and zone: "4 March 2026, 09:12:07 GMT"."""
        local = self._local(at)
        time = f"{self._time(local, 'medium')} {self._zone_of(local)}"
        return self._join(dates.format_date(local, "long", self.locale), time)

    def clock(self, at: datetime) -> str:
        """Return clock time and zone: "11:42 GMT"."""
        local = self._local(at)
        return f"{self._time(local)} {self._zone_of(local)}"

    def full(self, at: datetime) -> str:
        """Return the time with its zone, the day only where it is not today: "Today, 10:42 GMT"."""
        is_today = self._local(at).date() == self._local(utc_now()).date()
        return gettext("Today, %(time)s", time=self.clock(at)) if is_today else self.long(at)

    def ago(self, at: datetime) -> str:
        """Return the time within a sentence: relative up to an hour, then date and time with zone."""
        minutes = (utc_now() - at) // MINUTE
        if not 0 <= minutes < 60:
            # Translators: time is a date, such as "on 3 May".
            return gettext("on %(time)s", time=self.long(at))
        # Translators: inside a sentence, with a small letter.
        return ngettext("%(number)s minute ago", "%(number)s minutes ago", minutes) if minutes else gettext("just now")

    def short(self, at: datetime) -> str:
        """Return the time for a table: relative up to an hour, then as short as it stays plain."""
        now = utc_now()
        past = now - at
        if timedelta(0) <= past < HOUR:
            minutes = past // MINUTE
            # Translators: by itself, with a capital letter.
            return ngettext("%(number)s min ago", "%(number)s min ago", minutes) if minutes else gettext("Just now")
        local, today = self._local(at), self._local(now)
        days, time = (today.date() - local.date()).days, self._time(local)
        if days == 0:
            return gettext("Today, %(time)s", time=time)
        if 0 < days < 7:
            return self._join(self._date("E", local), time)
        return self._join(self._date("MMMd" if local.year == today.year else "yMMMd", local), time)

    def exact(self, at: datetime) -> str:
        """Return the time to the second, for a table: "Today, 10:42:07", "Wed 18 Nov, 16:03:09"."""
        local = self._local(at)
        time = self._time(local, "medium")
        if local.date() == self._local(utc_now()).date():
            return gettext("Today, %(time)s", time=time)
        return self._join(self._date("MMMEd", local), time)

    def moment(self, at: datetime) -> str:
        """Return day, clock time and zone: "Tuesday 24 November at 10:45 GMT"."""
        local = self._local(at)
        this_year = local.year == self._local(utc_now()).year
        day = self._date("MMMMEEEEd", local) if this_year else dates.format_date(local, "full", self.locale)
        # Translators: day is a date, time a time of day.
        return gettext("%(day)s at %(time)s", day=day, time=self.clock(at))

    def today_or_moment(self, at: datetime) -> str:
        """Return what `moment` does, for today in words: "Today at 11:45 GMT"."""
        if self._local(at).date() == self._local(utc_now()).date():
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

    def day(self, on: date) -> str:
        """Return a day whose year is clear: "4 March"."""
        return self._date("MMMMd", on)

    def short_day(self, on: date) -> str:
        """Return a day whose year is clear, for a table: "4 Mar"."""
        return self._date("MMMd", on)

    def short_weekday_and_day(self, on: date) -> str:
        """Return a day whose year is clear with the day of the week, for a table: "Wed 4 Mar"."""
        return self._date("MMMEd", on)

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(self.zone)

    def _date(self, skeleton: str, on: date) -> str:
        return _format_date(self.locale, skeleton, on.year, on.month, on.day)

    def _time(self, local: datetime, width: Literal["short", "medium"] = "short") -> str:
        return _time_pattern(self.locale, width).apply(local, self.locale)

    def _zone_of(self, local: datetime) -> str:
        """Return the short name of a time's zone, "GMT"; without one in the locale and the tz database its offset."""
        names = (dates.get_timezone_name(local, width="short", locale=self.locale), f"{local:%Z}")
        return next(filter(str.isalpha, names), dates.get_timezone_gmt(local, "long", self.locale))

    def _join(self, day: str, time: str) -> str:
        """Return a date and a time in the order and with the punctuation of the locale: "4 March, 09:12"."""
        return _joining_pattern(self.locale).replace("{0}", time).replace("{1}", day)


# Babel finds a pattern in the data of the locale at each call, which takes longer than applying it.


@lru_cache(maxsize=1024)
def _format_date(locale: Locale, skeleton: str, year: int, month: int, day: int) -> str:
    # format_skeleton takes no date, and converts an aware time to UTC.
    return dates.format_skeleton(skeleton, datetime(year, month, day), locale=locale)  # noqa: DTZ001


@cache
def _time_pattern(locale: Locale, width: Literal["short", "medium"]) -> DateTimePattern:
    return dates.get_time_format(width, locale)


@cache
def _joining_pattern(locale: Locale) -> str:
    return str(dates.get_datetime_format("medium", locale)).replace("'", "")
