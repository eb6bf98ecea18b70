"""How dates, times and numbers are written: in English here; `hosts_babel` does it in the language of a host."""

from datetime import date, datetime

from ...core.i18n import format_english_number


class Formats:
    """British English."""

    def number(self, value: int) -> str:
        """Return a number: "1,234"."""
        return format_english_number(value)

    def long_date(self, on: date) -> str:
        """Return a date: "4 March 2026"."""
        return f"{on.day} {on:%B %Y}"

    def short_date(self, on: date) -> str:
        """Return a date for a table: "4 Mar 2026"."""
        return f"{on.day} {on:%b %Y}"

    def day(self, on: date) -> str:
        """Return a day of a year that is plain: "4 March"."""
        return f"{on.day} {on:%B}"

    def short_day(self, on: date) -> str:
        """Return a day of a year that is plain, for a table: "4 Mar"."""
        return f"{on.day} {on:%b}"

    def short_weekday_and_day(self, on: date) -> str:
        """Return the same with the day of the week: "Wed 4 Mar"."""
        return f"{on:%a} {self.short_day(on)}"

    def weekday_and_day(self, on: date) -> str:
        """Return a day of a year that is plain with the day of the week: "Wednesday 4 March"."""
        return f"{on:%A} {self.day(on)}"

    def weekday_and_date(self, on: date) -> str:
        """Return a date with the day of the week: "Wednesday 4 March 2026"."""
        return f"{on:%A} {self.long_date(on)}"

    def short_weekday(self, on: date) -> str:
        """Return the day of the week: "Wed"."""
        return f"{on:%a}"

    def time(self, at: datetime) -> str:
        """Return the clock time: "09:12"."""
        return f"{at:%H:%M}"

    def time_with_seconds(self, at: datetime) -> str:
        """Return the clock time: "09:12:05"."""
        return f"{at:%H:%M:%S}"

    def zone(self, at: datetime) -> str:
        """Return the short name of a time's zone: "GMT"."""
        return f"{at:%Z}"

    def city(self, zone_name: str) -> str:
        """Return the city by which a zone is called: "London" of "Europe/London"."""
        return zone_name.rpartition("/")[2].replace("_", " ")

    def date_and_time(self, day: str, time: str) -> str:
        """Return a date and a clock time, each as text, as one: "4 March, 09:12"."""
        return f"{day}, {time}"
