"""The example host `examples/host_mas` in its own directory and processes."""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import requests

from tests.support.servers import ROOT, START_SECONDS, STOP_SECONDS, answers, free_port

EXAMPLE = ROOT / "examples" / "host_mas"
DIFF = EXAMPLE / "identity_clients.diff"
LIST = "/administration/identity-clients"
PASSWORD = "a password of the portal"
OWNER, INTEGRATOR, CASHIER = "ana@tidewater.example", "ben@tidewater.example", "cai@tidewater.example"
OTHER_OWNER, BASIC_OWNER = "eli@saltmarsh.example", "dee@lowland.example"
SLOW_SECONDS = 120
SETTINGS = {
    "QUAYSIDE_SECRET_KEY": "session-0123456789abcdefghijklmnopqrstuvwxyz",
    "QUAYSIDE_IDENTITY_CLIENTS_ISSUER": "https://portal.quayside.example",
    "QUAYSIDE_IDENTITY_CLIENTS_AUDIENCE": "https://api.quayside.example",
    "QUAYSIDE_IDENTITY_CLIENTS_PEPPER": "1:pepper-0123456789abcdefghijklmnopqrstuvwxyz",
    "QUAYSIDE_IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY": "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA",
}


@dataclass
class Portal:
    """The example host in its own directory.

    :param settings: the environment of its processes.
    """

    directory: Path
    python: Path
    settings: dict[str, str]
    url: str = ""
    _log: Path = field(init=False)

    def __post_init__(self) -> None:
        self._log = self.directory / "server.log"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.settings,
        }

    @property
    def log(self) -> str:
        """The server's log."""
        return self._log.read_text()

    def run(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Run Python in the host's directory; return its output."""
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.directory,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SLOW_SECONDS,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def flask(self, *arguments: str) -> str:
        """Run a command of the application; return its output."""
        return self.run("-m", "flask", "--app", "webapp", *arguments)

    def set_up(self, *, with_product: bool = True) -> None:
        """Create the tables and users."""
        self.run("-m", "alembic", "upgrade", "head")
        if with_product:
            self.flask("identity-clients", "upgrade")
        self.flask("seed", PASSWORD)

    @contextlib.contextmanager
    def serving(self, **environment: str) -> Iterator["Portal"]:
        """Serve the host within the block."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [self.python, "-m", "flask", "--app", "webapp", "run", "--no-reload", "--port", str(port)],
                cwd=self.directory,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(f"{self.url}/status"):
                assert process.poll() is None, self.log
                assert time.monotonic() < deadline, self.log
                time.sleep(0.05)
            yield self
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)

    def browser(self, email: str | None = OWNER, *, base: str = "") -> "Browser":
        """Return a client without JavaScript in which a user is signed in.

        :param base: another base URL of the portal.
        """
        browser = Browser(base or self.url)
        if email:
            browser.sign_in(email)
        return browser


class Browser:
    """The cookies of one browser, and the portal's base URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str = LIST, **options: Any) -> requests.Response:
        """Send a GET to the portal."""
        return self.session.get(self.url + path, timeout=30, **options)

    def post(self, path: str, data: Mapping[str, Any], **options: Any) -> requests.Response:
        """Post a form with the CSRF token of its page."""
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.get(path).text)
        assert token, path
        return self.session.post(
            self.url + path, data={"csrf_token": token[1], **data}, timeout=30, allow_redirects=False, **options
        )

    def sign_in(self, email: str, path: str = "/enter") -> requests.Response:
        """Sign in on the host's own page."""
        answer = self.post(path, {"mail": email, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return answer


class MakePortal(Protocol):
    """Create a directory with the example host."""

    def __call__(self, *, with_product: bool = True, database: str = "sqlite", **settings: str) -> Portal:
        """Create the directory.

        :param database: `sqlite` or `postgresql`.
        :param settings: settings of Identity Clients, in lower case without prefix.
        """
