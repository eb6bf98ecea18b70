"""Dates and times on the screens, by locale and time zone."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from babel import Locale

from webapp.web.i18n.times import Times

NOW = datetime(2026, 3, 4, 9, 12, 7, tzinfo=UTC)
LONDON = Times("Europe/London", Locale("en", "GB"))


@pytest.mark.parametrize(
    ("ago", "short", "within_a_sentence"),
    [
        (timedelta(seconds=59), "Just now", "just now"),
        (timedelta(minutes=1), "1 min ago", "1 minute ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago", "59 minutes ago"),
        (timedelta(hours=1), "Today, 08:12", "on 4 March 2026, 08:12 GMT"),
        (timedelta(days=1), "Tue, 09:12", "on 3 March 2026, 09:12 GMT"),
        (timedelta(days=6), "Thu, 09:12", "on 26 February 2026, 09:12 GMT"),
        (timedelta(days=7), "25 Feb, 09:12", "on 25 February 2026, 09:12 GMT"),
        (timedelta(days=200), "16 Aug 2025, 10:12", "on 16 August 2025, 10:12 BST"),
        (-timedelta(minutes=1), "Today, 09:13", "on 4 March 2026, 09:13 GMT"),
    ],
)
def test_times_of_the_past_in_english(ago: timedelta, short: str, within_a_sentence: str) -> None:
    with time_machine.travel(NOW, tick=False):
        assert (LONDON.short(NOW - ago), LONDON.ago(NOW - ago)) == (short, within_a_sentence)


def test_every_other_format_in_english() -> None:
    with time_machine.travel(NOW, tick=False):
        assert LONDON.long(NOW) == "4 March 2026, 09:12 GMT"
        assert LONDON.precise(NOW) == "4 March 2026, 09:12:07 GMT"
        assert LONDON.full(NOW) == "Today, 09:12 GMT"
        assert LONDON.exact(NOW) == "Today, 09:12:07"
        assert LONDON.exact(NOW - timedelta(days=7)) == "Wed 25 Feb, 09:12:07"
        assert LONDON.moment(NOW + timedelta(days=2)) == "Friday 6 March at 09:12 GMT"
        assert LONDON.today_or_moment(NOW) == "Today at 09:12 GMT"
        assert LONDON.zone_label == "London time"
        assert LONDON.machine(NOW) == "2026-03-04T09:12:07Z"
    on = date(2026, 3, 4)
    assert (LONDON.day(on), LONDON.short_day(on), LONDON.short_weekday_and_day(on)) == ("4 March", "4 Mar", "Wed 4 Mar")


@pytest.mark.parametrize(
    ("zone", "locale", "clock", "label"),
    [
        ("UTC", "en_GB", "09:12 UTC", "UTC"),
        ("America/New_York", "en_GB", "04:12 EST", "New York time"),
        ("Asia/Kathmandu", "en_GB", "14:57 GMT+05:45", "Kathmandu time"),
        ("Europe/London", "en_US", "9:12\u202fAM GMT", "London time"),
        ("Asia/Tokyo", "ja", "18:12 JST", "東京 time"),
    ],
)
def test_a_time_has_the_name_of_its_zone(zone: str, locale: str, clock: str, label: str) -> None:
    times = Times(zone, Locale.parse(locale))
    with time_machine.travel(NOW, tick=False):
        assert (times.clock(NOW), times.zone_label) == (clock, label)


PROGRAM = """
import sys
sys.modules["tzdata"] = None
from datetime import UTC, datetime
from webapp.settings import Settings, SettingsError
from webapp.web.i18n.times import Times
values = {
    "IDENTITY_CLIENTS_ISSUER": "https://identity.example",
    "IDENTITY_CLIENTS_AUDIENCE": "https://api.example",
    "IDENTITY_CLIENTS_PEPPER": "1:" + "p" * 43,
    "IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY": "a" * 43,
    "IDENTITY_CLIENTS_DATABASE_URL": "sqlite://",
}
times = Times(Settings.from_config(values).time_zone)
print(times.long(datetime(2026, 7, 4, 9, 12, tzinfo=UTC)), times.zone_label, sep=" | ")
try:
    Settings.from_config(values | {"IDENTITY_CLIENTS_TIME_ZONE": "Europe/London"})
except SettingsError as error:
    print(error)
"""


def test_without_time_zone_data_the_default_is_utc_with_a_warning() -> None:
    """A time zone named by the host is an error as before."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    formatted, refused = done.stdout.splitlines()
    assert formatted == "4 July 2026, 09:12 UTC | UTC"
    assert refused.startswith("IDENTITY_CLIENTS_TIME_ZONE must be")
    assert "No time zone data is installed" in done.stderr
    assert "IDENTITY_CLIENTS_TIME_ZONE" in done.stderr
