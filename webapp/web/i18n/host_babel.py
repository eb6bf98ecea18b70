"""Words, dates and numbers in the locale of a host with Flask-Babel. Imported only where the host has it."""

from datetime import date, datetime
from functools import cache

import flask_babel
from babel import Locale, dates, numbers
from babel.support import Translations
from flask import current_app

from .formats import Formats
from .language import ENGLISH, Language

DOMAIN = "identity_clients"


def language() -> Language:
    """Return the language of the request at work, as the host's own selector says.

    The words are those of `identity_clients.mo` in one of the host's directories, or English where there is none.
    """
    if not isinstance(current_app.extensions["babel"], flask_babel.BabelConfiguration):
        return ENGLISH
    locale: Locale = flask_babel.get_locale()
    translations = _load(tuple(flask_babel.get_babel().translation_directories), str(locale))
    tag = str(locale).replace("_", "-") if translations or locale.language == "en" else ENGLISH.tag
    return Language(tag, translations, BabelFormats(locale))


@cache
def _load(directories: tuple[str, ...], locale_name: str) -> Translations | None:
    for directory in directories:
        found = Translations.load(directory, [locale_name], DOMAIN)
        if isinstance(found, Translations):
            return found
    return None


class BabelFormats(Formats):
    """The formats of a locale, after CLDR."""

    def __init__(self, of: Locale) -> None:
        self._locale = of

    def number(self, value: int) -> str:
        """Return a number."""
        return numbers.format_decimal(value, locale=self._locale)

    def long_date(self, on: date) -> str:
        """Return a date."""
        return dates.format_date(on, "long", self._locale)

    def short_date(self, on: date) -> str:
        """Return a date for a table."""
        return self._skeleton("yMMMd", on)

    def day(self, on: date) -> str:
        """Return a day of a year that is plain."""
        return self._skeleton("MMMMd", on)

    def short_day(self, on: date) -> str:
        """Return a day of a year that is plain, for a table."""
        return self._skeleton("MMMd", on)

    def short_weekday_and_day(self, on: date) -> str:
        """Return the same with the day of the week."""
        return self._skeleton("MMMEd", on)

    def weekday_and_day(self, on: date) -> str:
        """Return a day with the day of the week, and the year as well: no pattern of every language leaves it out."""
        return self.weekday_and_date(on)

    def weekday_and_date(self, on: date) -> str:
        """Return a date with the day of the week."""
        return dates.format_date(on, "full", self._locale)

    def short_weekday(self, on: date) -> str:
        """Return the day of the week."""
        return self._skeleton("E", on)

    def time(self, at: datetime) -> str:
        """Return the clock time."""
        return dates.format_time(at, "short", tzinfo=at.tzinfo, locale=self._locale)

    def time_with_seconds(self, at: datetime) -> str:
        """Return the clock time."""
        return dates.format_time(at, "medium", tzinfo=at.tzinfo, locale=self._locale)

    def zone(self, at: datetime) -> str:
        """Return the short name of a time's zone: the language's, else the zone's own, else how far it is from GMT."""
        names = (dates.get_timezone_name(at, width="short", locale=self._locale), super().zone(at))
        return next(filter(str.isalpha, names), dates.get_timezone_gmt(at, "long", self._locale))

    def city(self, zone_name: str) -> str:
        """Return the city by which a zone is called."""
        return dates.get_timezone_location(zone_name, self._locale, return_city=True)

    def date_and_time(self, day: str, time: str) -> str:
        """Return a date and a clock time, each as text, as one."""
        pattern = str(dates.get_datetime_format("medium", self._locale))
        return pattern.replace("'", "").replace("{0}", time).replace("{1}", day)

    def _skeleton(self, skeleton: str, on: date) -> str:
        # A date alone would do, but is not what this function takes.
        return dates.format_skeleton(skeleton, datetime(on.year, on.month, on.day), locale=self._locale)  # noqa: DTZ001
