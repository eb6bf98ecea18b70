"""The wheel in a virtual environment of its own, and `examples/host_mas` in it, with and without the product.

That host has a package called `webapp` as this repository has, so it runs in processes of its own only.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.support.portal import DIFF, EXAMPLE, SETTINGS, MakePortal, Portal
from tests.support.servers import ROOT


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel as `make dist` builds it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [str(Path(sys.executable).with_name("hatchling")), "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a fresh virtual environment into which pip has installed the wheel.

    No network: what the wheel depends on comes, by a line in a .pth file, from the environment that runs the tests.
    This repository is not on its path.
    """
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*install, str(wheel)], check=True, env={"PATH": os.environ["PATH"]})
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="session")
def make_portal(
    installed: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[MakePortal]:
    """Return a function that copies the example host and creates its tables and users."""
    databases: list[tuple[Engine, str]] = []
    ready: dict[bool, Path] = {}

    def make(*, with_product: bool = True, database: str = "sqlite", **settings: str) -> Portal:
        directory = tmp_path_factory.mktemp("portal") / "host_mas"
        shutil.copytree(EXAMPLE, directory, ignore=shutil.ignore_patterns("__pycache__", "instance"))
        if not with_product:
            subprocess.run(["git", "apply", "-R", DIFF.name], cwd=directory, check=True)
        if database == "sqlite":
            url = f"sqlite:///{directory}/quayside.sqlite3"
        else:
            server: Engine = request.getfixturevalue("postgresql_server")
            name = f"portal_{uuid.uuid4().hex}"
            with server.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
            databases.append((server, name))
            url = server.url.set(database=name).render_as_string(hide_password=False)
        own = {f"QUAYSIDE_IDENTITY_CLIENTS_{key.upper()}": value for key, value in settings.items()}
        portal = Portal(
            directory, installed, SETTINGS | own | {"QUAYSIDE_SQLALCHEMY_DATABASE_URI": url, "GIT_DIR": "/nowhere"}
        )
        if database != "sqlite":
            portal.set_up(with_product=with_product)
        elif with_product in ready:
            shutil.copyfile(ready[with_product], directory / "quayside.sqlite3")
        else:
            portal.set_up(with_product=with_product)
            ready[with_product] = directory.with_name("ready.sqlite3")
            shutil.copyfile(directory / "quayside.sqlite3", ready[with_product])
        return portal

    yield make
    for server, name in databases:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def portal(make_portal: MakePortal) -> Iterator[Portal]:
    """Return the running example host on SQLite, one per worker."""
    with make_portal().serving() as portal:
        yield portal
