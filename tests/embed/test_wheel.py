"""The contents of the wheel, and that it needs nothing else of this repository (C6)."""

import re
import subprocess
import zipfile
from email import message_from_string
from pathlib import Path, PurePosixPath

import pytest

from tests.support.portal import INTEGRATOR, LIST, MakePortal
from tests.support.servers import ROOT

KINDS = {
    "": {".py", ".typed", ".txt"},
    "templates": {".html"},
    "static": {".css", ".js"},
    "migrations": {".py", ".mako"},
    "translations": {".po"},
}


def names(wheel: Path) -> list[str]:
    """Return the files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Templates, static files, migrations and translations; no tests, stand-alone, demo data, database or keys (C6)."""
    found = {PurePosixPath(name) for name in names(wheel)}
    assert {path.parts[0] for path in found} == {"identity_clients", "identity_clients-0.1.0.dist-info"}
    for path in found:
        if path.parts[0] == "identity_clients":
            folder = path.parts[1] if path.parts[1] in KINDS else ""
            assert path.suffix in KINDS[folder], path
    assert not [path for path in found if re.search(r"standalone|demo|test|conftest|\.env|\.git|\.sqlite", str(path))]


def test_the_wheel_holds_every_file_of_the_product(wheel: Path) -> None:
    """Byte for byte, at its path in the package (C6)."""
    tracked = subprocess.run(
        ["git", "ls-files", "webapp", "templates/identity_clients", "static/identity_clients", "migrations"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    expected = {
        name.replace("webapp", "identity_clients", 1)
        if name.startswith("webapp/")
        else f"identity_clients/{name}": name
        for name in tracked
        if "/standalone/" not in name
    }
    assert expected.keys() == {name for name in names(wheel) if ".dist-info" not in name}
    with zipfile.ZipFile(wheel) as archive:
        for inside, name in expected.items():
            assert archive.read(inside) == (ROOT / name).read_bytes(), name


def test_the_dependencies_of_the_wheel(wheel: Path) -> None:
    """Python 3.11 and later, SQLAlchemy 2.0 and 2.1, not Flask 3.1.0 with its fault (C1)."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        fields = message_from_string(archive.read(metadata).decode())
    assert fields["Name"] == "identity-clients"
    assert fields["Requires-Python"] == ">=3.11"
    asked = fields.get_all("Requires-Dist") or []
    assert "sqlalchemy<3,>=2.0" in asked
    assert "flask>=3.1.1" in asked


def test_the_environment_has_the_wheel_only(installed: Path) -> None:
    """Otherwise the other tests here would show nothing."""
    script = "import identity_clients, sys; print(identity_clients.__file__); import webapp"
    done = subprocess.run([installed, "-c", script], cwd="/", capture_output=True, text=True)
    assert Path(done.stdout.strip()).is_relative_to(installed.parents[1])
    assert "No module named 'webapp'" in done.stderr


def test_importing_it_loads_no_stand_alone_and_no_driver(installed: Path) -> None:
    """A host's start stays quick."""
    script = "import sys, identity_clients; print(*sys.modules)"
    done = subprocess.run([installed, "-c", script], cwd="/", check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "identity_clients.extension" in loaded
    assert not {"identity_clients.standalone", "granian", "redis", "psycopg"} & loaded


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_example_runs_beside_its_own_webapp_package(make_portal: MakePortal, database: str) -> None:
    """Create, list and disable, on both engines, within the host's layout."""
    with make_portal(database=database).serving() as portal:
        browser = portal.browser(INTEGRATOR)
        page = browser.get()
        assert page.status_code == 200
        assert "No clients yet" in page.text
        assert "Quayside Payments, 1 Quay Street" in page.text
        created = browser.post(
            f"{LIST}/new",
            {
                "client_id": "tidewater-claims",
                "client_secret": "a secret of sixteen and more",
                "name": "Claims",
                "token_duration": "30",
                "roles": "MerchantUser",
                "creation_key": _creation_key(browser.get(f"{LIST}/new").text),
            },
        )
        assert created.status_code == 200, created.text
        assert "a secret of sixteen and more" in created.text
        assert "tidewater-claims" in browser.get().text
        assert "Traceback" not in portal.log


def _creation_key(page: str) -> str:
    found = re.search(r'name="creation_key"[^>]*value="([^"]+)"', page)
    assert found
    return found[1]
