"""Files that the application writes: its database only (C6)."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.servers import ROOT
from tests.support.settings import PRODUCTION_SETTINGS

SCRIPT = """
import json, os, sys
writes = []

def watch(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        writes.append(str(arguments[0]))
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.chown", "os.link", "os.symlink"):
        writes.append(str(arguments[0]))

sys.addaudithook(watch)
from webapp.standalone import create_app
from webapp.host import EXTENSION
app = create_app(json.load(sys.stdin))
browser = app.test_client()
form = {"grant_type": "client_credentials", "client_id": "nobody-at-all", "client_secret": "no secret of ours"}
for path in ("/healthz", "/readyz", "/login", "/administration/identity-clients", "/.well-known/jwks.json", "/nowhere"):
    browser.get(path, base_url="https://localhost")
print(browser.post("/connect/token", base_url="https://localhost", data=form).status_code)
app.extensions[EXTENSION].recorder.write()
app.extensions[EXTENSION].engine.dispose()
open(os.devnull, "w").close()  # so that it is seen that something is seen
print(json.dumps(writes))
"""


def test_it_runs_on_a_read_only_file_system(sqlite_url: str, tmp_path: Path) -> None:
    """Start, pages, a token request and its record open nothing for writing outside the database's directory (C6)."""
    settings = PRODUCTION_SETTINGS | {
        "IDENTITY_CLIENTS_DATABASE_URL": sqlite_url,
        "INSTANCE_PATH": str(tmp_path / "nowhere"),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        check=True,
    )
    status, writes = done.stdout.splitlines()
    assert status == "401"
    outside = [path for path in json.loads(writes) if not path.startswith(str(tmp_path / "database"))]
    assert outside == [os.devnull]
    assert not (tmp_path / "nowhere").exists()
