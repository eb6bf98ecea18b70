"""The stand-alone under `opentelemetry-instrument`: spans named by route, and no secret in them."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

from tests.support import servers

CANARY = "canary-0f1e2d3c4b5a"
PATHS = ("/connect/introspect", "/connect/revocation", "/login")


def test_spans_have_the_names_of_routes_and_no_secret(tmp_path: Path) -> None:
    port, spans = servers.free_port(), tmp_path / "spans.txt"
    program = shutil.which("opentelemetry-instrument", path=str(Path(sys.executable).parent))
    assert program
    settings = {
        "PATH": str(Path(sys.executable).parent),
        "IDENTITY_CLIENTS_DEVELOPMENT": "true",
        "INSTANCE_PATH": f"{tmp_path}/instance",
        "PORT": str(port),
        "DEMO_PASSWORD": "correct horse battery staple",
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    form = urlencode({"token": CANARY, "client_id": f"client-{CANARY}", "client_secret": CANARY, "password": CANARY})
    with spans.open("wb") as output:
        process = subprocess.Popen(
            [program, sys.executable, "-m", "webapp.standalone"],
            cwd=servers.ROOT, env=settings, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + servers.START_SECONDS
        while status(f"http://127.0.0.1:{port}/readyz") != 200:
            assert process.poll() is None, spans.read_text()
            assert time.monotonic() < deadline, spans.read_text()
            time.sleep(0.1)
        for path in PATHS:
            assert status(f"http://127.0.0.1:{port}{path}", form) in (401, 422)
        assert status(f"http://127.0.0.1:{port}/connect/token", f"grant_type=client_credentials&{form}") == 401
        while not all(f'"name": "POST {path}"' in spans.read_text() for path in PATHS):
            assert time.monotonic() < deadline, spans.read_text()
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(servers.STOP_SECONDS)
    text = spans.read_text()
    assert CANARY not in text
    assert json.dumps("correct horse battery staple") not in text
    assert set(re.findall(r'"name": "(\w+ /[^"]*)"', text)) == {*(f"POST {path}" for path in PATHS), "GET /readyz"}


def status(url: str, form: str | None = None) -> int:
    """Return the status of a response, 0 for none."""
    try:
        return int(urllib.request.urlopen(url, form.encode() if form else None, timeout=5).status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
