"""Static checks of the files in `docs/deploy`. `make test-cluster` runs all but the systemd unit."""

import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tests.support import servers
from webapp.settings import PREFIX, Settings

DEPLOY = servers.ROOT / "docs" / "deploy"
EXPOSURE_MAX = 2.0


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the systemd unit with paths of this machine."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed: the unit was not checked")
    text = (DEPLOY / "identity-clients.service").read_text("utf-8")
    for theirs, ours in {
        "/srv/identity-clients/.venv/bin/python": sys.executable,
        "/srv/identity-clients": str(servers.ROOT),
    }.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    (tmp_path / "identity-clients.socket").write_text((DEPLOY / "identity-clients.socket").read_text("utf-8"), "utf-8")
    path = tmp_path / "identity-clients.service"
    path.write_text(text, "utf-8")
    return path


def test_systemd_accepts_the_units(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", unit, unit.with_suffix(".socket")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_exposure_level_of_the_unit(unit: Path) -> None:
    limit = f"--threshold={EXPOSURE_MAX * 10:.0f}"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", limit, unit], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-200:]


def test_the_settings_exist() -> None:
    known = {f"{PREFIX}{field.name.upper()}" for field in fields(Settings)}
    given = re.findall(rf"^({PREFIX}[A-Z_]+)=", (DEPLOY / "identity-clients.env").read_text("utf-8"), re.MULTILINE)
    assert given
    assert set(given) <= known


def test_every_file_is_listed() -> None:
    """The table of the folder's README names every file, and no other."""
    named = set(re.findall(r"\]\(([^/)]+)\)", (DEPLOY / "README.md").read_text("utf-8")))
    assert named == {path.name for path in DEPLOY.iterdir()} - {"README.md"}
