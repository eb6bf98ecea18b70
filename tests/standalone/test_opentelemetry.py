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
PATHS = ("/connect/introspect", "/connect/revocation", "/connect/token", "/login")
NAMES = [f"POST {path}" for path in PATHS]
TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_spans_have_the_names_of_routes_and_no_secret(tmp_path: Path) -> None:
    """Also that of the fast path, which belongs to the caller's trace, and has no attribute of the caller's (L4)."""
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
            assert status(f"http://127.0.0.1:{port}{path}", f"grant_type=client_credentials&{form}") in (401, 422)
        assert status(f"http://127.0.0.1:{port}/connect/token?{CANARY}", form, method="BREW") == 405
        while not all(f'"name": "{name}"' in spans.read_text() for name in (*NAMES, "_OTHER /connect/token")):
            assert time.monotonic() < deadline, spans.read_text()
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(servers.STOP_SECONDS)
    text = spans.read_text()
    assert CANARY not in text
    assert json.dumps("correct horse battery staple") not in text
    names = re.findall(r'"name": "(\w+ /[^"]*)"', text)
    assert set(names) == {*NAMES, "_OTHER /connect/token", "GET /readyz"}
    assert names.count("POST /connect/token") == 1
    assert "BREW" not in "".join(names)
    begin = text.index('"name": "POST /connect/token"')
    span = text[begin : text.index('"resource"', begin)]
    assert f'"trace_id": "0x{TRACE}"' in span
    assert '"http.response.status_code": 401' in span
    assert '"http.route": "/connect/token"' in span


def status(url: str, form: str | None = None, method: str | None = None) -> int:
    """Return the status of a response, 0 for none."""
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "baggage": f"user={CANARY}", "User-Agent": "test"}
    request = urllib.request.Request(url, form.encode() if form else None, headers, method=method)
    try:
        return int(urllib.request.urlopen(request, timeout=5).status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
