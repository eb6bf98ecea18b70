"""Installed packages are the locked ones (C1)."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.servers import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock")
_PACKAGE = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^\s;]+)", re.MULTILINE)


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Return a package that exists only here."""
    path = tmp_path / "tiny_example-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_example.py", "")
        for name, lines in {
            "METADATA": ("Metadata-Version: 2.1", "Name: tiny-example", "Version: 1.0"),
            "WHEEL": ("Wheel-Version: 1.0", "Root-Is-Purelib: true", "Tag: py3-none-any"),
            "RECORD": (),
        }.items():
            archive.writestr(f"tiny_example-1.0.dist-info/{name}", "\n".join([*lines, ""]))
    return path


@pytest.mark.parametrize(("altered", "installed"), [(False, True), (True, False)])
def test_an_altered_hash_is_refused(wheel: Path, tmp_path: Path, altered: bool, installed: bool) -> None:
    """Pip, with the Makefile's options, refuses a package whose hash is not the locked one (C1)."""
    command = re.search(r"^PIP_INSTALL := \$\(BIN\)/python (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert command
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if altered:
        digest = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    lock = tmp_path / "altered.lock"
    lock.write_text(f"tiny-example==1.0 \\\n    --hash=sha256:{digest}\n")
    result = subprocess.run(
        [sys.executable, *command[1].split(), "--no-index", "-f", tmp_path, "-t", tmp_path / "target", "-r", lock],
        capture_output=True,
        text=True,
    )
    assert (result.returncode == 0) == installed, result.stderr
    assert ("DO NOT MATCH" in result.stderr) == altered
    assert (tmp_path / "target" / "tiny_example.py").exists() == installed


def test_the_makefile_installs_only_what_is_locked() -> None:
    """Every pip of the Makefile checks hashes, and installs from a lock file (C1)."""
    text = (ROOT / "Makefile").read_text()
    assert "--require-hashes" in text.split("PIP_INSTALL := ")[1].split("\n")[0]
    assert re.findall(r"\$\(PIP_INSTALL\) -r (\S+)", text) == list(LOCKS)
    assert len(re.findall(r"pip install", text)) == 1


@pytest.mark.parametrize("name", [*LOCKS, ".ci/oldest.lock"])
def test_every_locked_package_has_its_hashes(name: str) -> None:
    """No lock file names an index (C1)."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "-index" not in text
    for entry in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry


def test_the_locks_cover_all_dependencies() -> None:
    """Both locks agree on every version; Flask is at least 3.1.1 (C1)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["standalone"]
    run, dev = (set(_PACKAGE.findall((ROOT / name).read_text())) for name in LOCKS)
    assert run <= dev
    names = {name for name, _ in run}
    assert {re.split(r"[^a-z0-9-]", requirement)[0] for requirement in declared} <= names
    assert {re.split(r"[^a-z0-9-]", text)[0] for text in project["dependency-groups"]["dev"]} <= {n for n, _ in dev}
    flask = dict(run)["flask"]
    assert tuple(int(part) for part in flask.split(".")) >= (3, 1, 1)


def test_the_software_bill_of_materials_lists_every_locked_package(tmp_path: Path) -> None:
    """As `make sbom` writes it, without a network (C1)."""
    target = tmp_path / "sbom.json"
    subprocess.run(
        [Path(sys.executable).with_name("cyclonedx-py"), "requirements", ROOT / "requirements.lock", "-o", target],
        check=True,
        capture_output=True,
    )
    listed = {(part["name"], part["version"]) for part in json.loads(target.read_text())["components"]}
    assert listed == set(_PACKAGE.findall((ROOT / "requirements.lock").read_text()))
