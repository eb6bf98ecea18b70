"""The guides in `docs/`, and a directory in which `operations.md` is followed, with other paths and ports."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe

from flask import Flask

from tests.support import servers
from tests.support.factories import SECRET, make_client
from webapp.core.database.models import IdentityClient
from webapp.host import EXTENSION, Services
from webapp.standalone import create_app

GUIDE = (servers.ROOT / "docs" / "operations.md").read_text("utf-8")
SETTINGS = (servers.ROOT / "docs" / "settings.md").read_text("utf-8")
NAME = "id.example.com"
SLOW_SECONDS = 60


def section(heading: str, guide: str = GUIDE) -> str:
    """Return a guide's text below a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", guide, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def blocks(heading: str, language: str, guide: str = GUIDE) -> list[str]:
    """Return the fenced blocks of a section."""
    return re.findall(rf"^```{language}\n(.*?)^```", section(heading, guide), re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Site:
    """A directory in which the guide is followed.

    :param directory: replaces the root directory.
    """

    directory: Path
    port: int

    def adapt(self, text: str) -> str:
        """Return text of the guide with the paths and ports of this directory."""
        for guide, ours in {
            "/etc/identity-clients.env": f"{self.directory}/identity-clients.env",
            "/srv/identity-clients": str(servers.ROOT),
            "/var/lib/identity-clients": f"{self.directory}/lib",
            "/var/backups/identity-clients": f"{self.directory}/backups",
            "/var/log/nginx": str(self.directory),
            "/etc/ssl": str(self.directory),
            ".venv/bin/": f"{sys.executable} -m ",
            "127.0.0.1:5000": f"127.0.0.1:{self.port}",
            "--port 5000": f"--port {self.port}",
        }.items():
            text = text.replace(guide, ours)
        return text

    def run(self, script: str, *, code: int = 0, **environment: str) -> str:
        """Run commands of the guide after those that load the settings; return their output."""
        load = blocks("Settings", "sh")[1]
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", self.adapt(load + script)],
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory)} | environment,
            capture_output=True,
            text=True,
            timeout=SLOW_SECONDS,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def flask(self, line: str) -> str:
        """Run one command of the guide with the current settings; return its output."""
        text = shlex.split(line)
        assert text[0] == ".venv/bin/flask"
        result = self.app().test_cli_runner().invoke(args=text[1:])
        assert result.exit_code == 0, result.output
        return result.output

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the environment file."""
        lines = (self.directory / "identity-clients.env").read_text().splitlines()
        return dict(line.partition(" #")[0].strip().split("=", 1) for line in lines)

    def set(self, name: str, value: str) -> None:
        """Change a setting in the environment file."""
        settings = self.settings | {name: value}
        (self.directory / "identity-clients.env").write_text("".join(f"{key}={settings[key]}\n" for key in settings))

    def app(self) -> Flask:
        """Return an application that starts now with the current settings."""
        return create_app(self.settings)


def make_site(directory: Path, database: Path) -> Site:
    """Return a site with the guide's environment file and directories, and a copy of this database."""
    site = Site(directory, servers.free_port())
    for name in ("lib", "backups"):
        (directory / name).mkdir(mode=0o700)
    shutil.copyfile(database, directory / "lib" / "mas.sqlite3")
    (directory / "lib" / "mas.sqlite3").chmod(0o600)
    file = directory / "identity-clients.env"
    file.write_text(site.adapt(re.sub(r"\.\.\.", lambda _: token_urlsafe(32), blocks("Settings", "sh")[0])))
    file.chmod(0o600)
    return site


def services_of(app: Flask) -> Services:
    """Return the services of an application."""
    services: Services = app.extensions[EXTENSION]
    return services


def make_client_in(app: Flask) -> IdentityClient:
    """Create a client in an application's database."""
    return make_client(services_of(app).engine, hasher=services_of(app).secrets.hasher)


def token_status(app: Flask, client: IdentityClient) -> int:
    """Request a token; return the status."""
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET}
    return app.test_client().post("/connect/token", base_url=f"https://{NAME}", data=form).status_code
