"""Processes with a wrong clock, by libfaketime."""

from pathlib import Path

import pytest

LIBRARIES = ("/usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


def wrong_clock(offset: str) -> dict[str, str]:
    """Return the environment of a process whose wall clock is wrong.

    :param offset: such as `-60s` or `+400d`.
    """
    found = [str(path) for pattern in LIBRARIES for path in sorted(Path("/").glob(pattern.removeprefix("/")))]
    if not found:
        pytest.fail("faketime is not installed. On Debian: apt-get install faketime", pytrace=False)
    return {"LD_PRELOAD": found[0], "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
