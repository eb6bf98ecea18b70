"""SQLite on a full disk, or as a read-only file: reading continues, and no queued record is lost (D8)."""

import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from tests.support.databases import migrate_everything
from tests.support.endpoint import basic_header
from tests.support.factories import SECRET, make_client
from tests.support.host import PREFIX
from tests.support.mas import Mas, creation_form, sign_in
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.core.database.models import TokenRequestCount
from webapp.core.database.unit_of_work import read_session
from webapp.host import EXTENSION, Services
from webapp.standalone import create_app


@contextmanager
def disk_without_space(directory: Path) -> Iterator[None]:
    """Fill the small file system of a directory."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 512):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    yield
    filler.unlink()


@contextmanager
def files_that_cannot_grow(directory: Path) -> Iterator[None]:
    """Make writes beyond the present size of the largest file fail, as a quota does."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(file.stat().st_size for file in directory.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a file system of 4 MiB."""
    directory = tmp_path / "small"
    directory.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


@pytest.mark.parametrize(
    ("outage", "cause"),
    [
        (disk_without_space, "database or disk is full (SQLITE_FULL)"),
        (files_that_cannot_grow, "disk I/O error (SQLITE_IOERR_WRITE)"),
    ],
)
def test_a_full_disk(
    small_disk: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    outage: Callable[[Path], AbstractContextManager[None]],
    cause: str,
) -> None:
    """Tokens are issued and recorded later; changes are refused with the reason, which is logged (D8)."""
    app = create_app(
        PRODUCTION_SETTINGS
        | {
            "IDENTITY_CLIENTS_DATABASE_URL": f"sqlite:///{small_disk}/mas.sqlite3",
            "INSTANCE_PATH": str(tmp_path / "instance"),
        }
    )
    services: Services = app.extensions[EXTENSION]
    migrate_everything(services.engine)
    Mas(app).add_user()
    make_client(services.engine, client_id="northwind-api", hasher=services.secrets.hasher)
    browser, caller = app.test_client(), app.test_client()
    assert sign_in(browser).status_code == 303
    form = creation_form(browser)

    def token() -> str:
        header = {"Authorization": basic_header("northwind-api", SECRET)}
        response = caller.post("/connect/token", data={"grant_type": "client_credentials"}, headers=header)
        return str((response.json or {})["access_token"])

    def with_token(path: str) -> TestResponse:
        header = {"Authorization": basic_header("northwind-api", SECRET)}
        return caller.post(f"/connect/{path}", data={"token": access_token}, headers=header)

    access_token = token()
    assert caller.get("/readyz").status_code == 200
    with outage(small_disk):
        assert all(token() for _ in range(3))
        assert (with_token("introspect").json or {})["active"] is True
        assert with_token("revocation").status_code == 503
        services.recorder.write()
        response = browser.post(f"{PREFIX}/new", data=form)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert "Nothing can be saved now" in response.text
        assert "few seconds" not in response.text
        assert browser.get(PREFIX).status_code == 200
        assert caller.get("/readyz").status_code == 503
        assert caller.get("/healthz").status_code == 200
    assert f"The database cannot be used: {cause}" in caplog.messages
    assert caller.get("/readyz").status_code == 200
    services.recorder.write()
    with read_session(services.engine) as session:
        assert session.scalar(select(func.sum(TokenRequestCount.count))) == 4
    assert browser.post(f"{PREFIX}/new", data=form).status_code == 200
    services.engine.dispose()


def test_a_file_that_becomes_read_only_is_not_ready(app: Flask, client: FlaskClient, sqlite_url: str) -> None:
    """New connections could not write to it (D8)."""
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    migrate_everything(app.extensions[EXTENSION].engine)
    assert client.get("/readyz").status_code == 200
    file.chmod(0o400)
    assert client.get("/readyz").status_code == 503
    file.chmod(0o600)
    assert client.get("/readyz").status_code == 200
