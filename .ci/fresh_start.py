#!/usr/bin/env python3
"""Clone the project, run `make run` several times, sign in, and stop it with Ctrl-C.

Needs Python, make, git and a package registry.
"""

import http.cookiejar
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

FIRST_START_SECONDS = 300
LATER_START_SECONDS = 3
LATER_STARTS = 3  # the fastest counts, since the machine may be busy
STOP_SECONDS = 10


def main() -> None:
    """Run all steps; exit with a message at the first failure."""
    with tempfile.TemporaryDirectory() as directory:
        clone = Path(directory) / "clone"
        subprocess.run(["git", "clone", "--quiet", Path(__file__).parents[1], clone], check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with running(clone, port, FIRST_START_SECONDS) as first:
            password = re.search(r"with +password (\S+)", first.output)
            if not password:
                sys.exit(f"No password was printed:\n{first.output}")
            sign_in(first.url, password[1])
        later = []
        for _ in range(LATER_STARTS):
            with running(clone, port, FIRST_START_SECONDS) as again:
                if password[1] in again.output:
                    sys.exit("The password was printed again.")
                sign_in(again.url, password[1])
            later.append(again.seconds)
    print(f"fresh start: first {first.seconds:.1f} s, then {' s, '.join(f'{seconds:.1f}' for seconds in later)} s")
    if min(later) > LATER_START_SECONDS:
        sys.exit(f"A later start takes more than {LATER_START_SECONDS} s.")


@dataclass
class Start:
    """One running `make run`."""

    url: str
    log: Path
    seconds: float

    @property
    def output(self) -> str:
        """The output so far."""
        return self.log.read_text()


@contextmanager
def running(clone: Path, port: int, within_seconds: int) -> Iterator[Start]:
    """Run `make run` until the server answers; at the end press Ctrl-C, and check that all processes stop."""
    names = ("PATH", "HOME", "LANG")
    environment = {name: value for name, value in os.environ.items() if name in names or name.startswith("PIP_")}
    log, url = clone.parent / "log", f"http://127.0.0.1:{port}"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "run"],
            cwd=clone,
            env=environment | {"PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while not answers(url):
            if process.poll() is not None or time.monotonic() - began > within_seconds:
                sys.exit(f"`make run` did not answer within {within_seconds} s:\n{log.read_text()}")
            time.sleep(0.05)
        yield Start(url, log, time.monotonic() - began)
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C signals every process of the terminal
        process.wait(STOP_SECONDS)
        if answers(url):
            sys.exit("The server still answers after Ctrl-C.")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    """Return whether the server is ready."""
    try:
        with urllib.request.urlopen(f"{url}/readyz") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def sign_in(url: str, password: str) -> None:
    """Sign in as the demo administrator, and check that the page links to Identity Clients."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.open(f"{url}/login").read().decode())
    if not token:
        sys.exit("The sign-in page has no form.")
    values = {"csrf_token": token[1], "email": "admin@northwind.example", "password": password}
    page = browser.open(f"{url}/login?next=/", urllib.parse.urlencode(values).encode()).read().decode()
    if "Open Identity Clients" not in page:
        sys.exit(f"Signing in did not lead to the start page:\n{page}")
    browser.open(f"{url}/administration/identity-clients")


if __name__ == "__main__":
    main()
