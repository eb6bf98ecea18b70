#!/usr/bin/env python3
"""Run the tests of core, screens, endpoint and embedding with every supported Python and SQLAlchemy.

Each combination gets a virtual environment in dist/matrix, which is kept as long as its locks stay the same. Arguments
are passed to pytest instead of the test folders. A Python is found by its name, or among pyenv's; if it is not
found, its combinations are skipped with a message.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
NEWEST, OLDEST = ROOT / "requirements-dev.lock", ROOT / ".ci" / "oldest.lock"
LOCKS = {"SQLAlchemy 2.1": (NEWEST,), "SQLAlchemy 2.0, Flask 3.1.1": (NEWEST, OLDEST)}
# Tests in Chromium and slow tests do not depend on versions.
TESTS = (
    "tests/core",
    "tests/web",
    "tests/oauth",
    "tests/api",
    "tests/embed",
    "--ignore=tests/embed/test_in_chromium.py",
)


def main() -> None:
    """Run all combinations, and print their results."""
    results = {}
    for version in PYTHONS:
        program = find(version)
        if program is None:
            print(f"Python {version} is not installed here: left out.", flush=True)
            continue
        for name, locks in LOCKS.items():
            title = f"Python {version}, {name}"
            print(f"--- {title}", flush=True)
            python = environment(program, f"{version}-{len(locks)}", locks)
            command = [str(python), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *(sys.argv[1:] or TESTS)]
            results[title] = subprocess.run(command, cwd=ROOT).returncode == 0
    for title, passed in results.items():
        print(f"{'passed' if passed else 'FAILED'}  {title}")
    if not results or not all(results.values()):
        sys.exit(1)


def find(version: str) -> str | None:
    """Return a Python of this version that can make virtual environments."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    several = sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)
    check = f"import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != ({version.replace('.', ', ')}))"
    for program in (shutil.which(f"python{version}"), *map(str, several), sys.executable):
        if program and subprocess.run([program, "-c", check], capture_output=True).returncode == 0:
            return program
    return None


def environment(program: str, name: str, locks: tuple[Path, ...]) -> Path:
    """Return the Python of a virtual environment with these locks, later ones in place of earlier ones."""
    folder = ROOT / "dist" / "matrix" / name
    python, mark = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([program, "-m", "venv", folder], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        for lock in locks:
            subprocess.run([*pip, "-r", str(lock)], check=True)
        mark.write_text(wanted)
    return python


if __name__ == "__main__":
    main()
