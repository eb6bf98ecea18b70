"""The format of log lines, and what they never contain (L4-L6)."""

import base64
import http.client
import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from tests.support.mas import EMAIL, Mas, csrf_token, sign_in
from tests.support.servers import LiveServer
from webapp.standalone.logs import BoundedHandler, JsonFormatter

CANARY = "canary-5f2c9a"


class Log:
    """Collect all log records at every level as the application formats them."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(JsonFormatter())

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    """Return the log of this test, debug records included."""
    root, found = logging.getLogger(), Log()
    level = root.level
    root.addHandler(found.handler)
    root.setLevel(logging.DEBUG)
    yield found
    root.setLevel(level)
    root.removeHandler(found.handler)


HOSTILE = {
    "line break": 'name\r\n{"level": "critical"}',
    "escape": "\x1b[31mred\x1b[0m",
    "controls": "\x00\x08\x7f\x85\u2028\u2029",
    "lone surrogate": "\ud800",
    "bidirectional": "\u202eright to left",
    "quotes": '"},{"',
    "long": "x" * 100_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_any_value_gives_one_line_of_json(log: Log, text: str) -> None:
    """Control characters are escaped, values cut at 200 characters (L6)."""
    logger = logging.getLogger("test")
    logger.handlers, logger.propagate = [log.handler], False  # the test runner cannot report a lone surrogate
    logger.warning("said %s", text, extra={"name_given": text, "count": 3})
    raw = log.stream.getvalue()
    assert raw.count("\n") == 1
    assert all("\x20" <= character <= "\x7e" for character in raw.removesuffix("\n"))
    (line,) = log.lines
    assert line["level"] == "warning"
    assert line["name_given"] == text[:200]
    assert len(line["message"]) <= 200
    assert line["count"] == 3


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", True),
        ("4BF92F3577B34DA6A3CE929D0E0E4736", True),
        ("4bf92f3577b34da6a3ce929d0e0e473", False),
        ("4bf92f3577b34da6a3ce929d0e0e47366", False),
        ("4bf92f35-77b34da6-a3ce-929d0e0e4736", False),
        ("URGENT-account-suspended-call-020-79", False),  # L3
        ("", False),
        ("a b", False),
        ("a\x1b[31m", False),
        ("ä", False),
        ('"}', False),
    ],
)
def test_only_a_well_formed_request_id_is_accepted(client: FlaskClient, log: Log, given: str, used: bool) -> None:
    """The response, the page and the log line have the same ID (L6)."""
    answer = client.get("/nowhere", headers={"X-Request-ID": given.encode("utf-8").decode("latin-1")})
    request_id = answer.headers["X-Request-ID"]
    assert (request_id == given) == used
    assert request_id in answer.text
    (line,) = [line for line in log.lines if line["message"] == "request"]
    assert line["request_id"] == request_id
    assert (line["method"], line["path"], line["status"]) == ("GET", "/nowhere", 404)


def test_only_the_path_of_a_request_is_logged(mas: Mas, client: FlaskClient, log: Log) -> None:
    """No body, cookie, Authorization or query string at any level, and no values of a sign-in (L4)."""
    mas.add_user()
    token = csrf_token(client)
    client.post("/login", data={"email": f"{CANARY}@a.test", "password": CANARY, "csrf_token": token})
    sign_in(client)
    cookie = client.get_cookie("__Host-identity-clients")
    assert cookie
    basic = base64.b64encode(f"{CANARY}:{CANARY}".encode()).decode()
    for path in ("/connect/token", "/nowhere", "/"):
        client.get(f"{path}?client_secret={CANARY}", headers={"Authorization": f"Basic {basic}"})
        client.post(path, data={"client_secret": CANARY}, headers={"Authorization": f"Bearer {CANARY}"})
    mas.run("user", "password", EMAIL, typed=f"{CANARY}-long-enough\n{CANARY}-long-enough\n")
    raw = log.stream.getvalue()
    assert len(log.lines) >= 8
    for canary in (CANARY, basic, token, cookie.value):
        assert canary not in raw


def test_an_exception_is_logged_by_type_and_location(app: Flask, client: FlaskClient, log: Log) -> None:
    """Without the text of the exception or its cause, and without local variables (L5)."""

    def fail() -> str:
        local = CANARY
        try:
            raise ValueError(local)
        except ValueError as error:
            raise RuntimeError(f"about {local}") from error

    app.add_url_rule("/fail", "fail", fail)
    answer = client.get("/fail")
    (line,) = [line for line in log.lines if line["level"] == "error"]
    assert [cause["type"] for cause in line["error"]] == ["builtins.RuntimeError", "builtins.ValueError"]
    assert "test_logs.py" in line["error"][0]["where"][-1]
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert CANARY not in log.stream.getvalue()


def test_a_flood_of_refused_requests_is_sampled_and_counted(client: FlaskClient, log: Log) -> None:
    """100 lines in each second, then one in 100; other lines are never left out (D10)."""
    root = logging.getLogger()
    root.removeHandler(log.handler)
    log.handler = BoundedHandler()
    log.handler.setStream(log.stream)
    log.handler.setFormatter(JsonFormatter())
    root.addHandler(log.handler)
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        for _ in range(350):
            client.get("/nowhere")
        for _ in range(120):
            client.get("/healthz")
        clock.shift(1)
        for _ in range(101):
            client.get("/nowhere")
    lines = [line for line in log.lines if line["message"] == "request"]
    refused = [line for line in lines if line["status"] == 404]
    assert len(lines) - len(refused) == 120
    assert len(refused) == 100 + 2 + 100
    assert [line["lines_left_out"] for line in refused if "lines_left_out" in line] == [99, 99, 50]
    assert sum(line.get("lines_left_out", 0) for line in refused) + len(refused) == 350 + 100


def test_the_log_of_the_server_process(live_server: LiveServer) -> None:
    """All lines after the start message are JSON, and none contains a credential (L4, L6)."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in (f"/connect/token?client_secret={CANARY}", f"/%0d%0a?x={CANARY}"):
        connection = http.client.HTTPConnection(urlsplit(live_server.url).netloc, timeout=30)
        connection.request("POST", path, urlencode({"client_secret": CANARY}), form | {"Authorization": CANARY})
        connection.getresponse().read()
        connection.close()
    output = live_server.log.read_text()
    assert CANARY not in output
    assert live_server.password not in output
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [line["path"] for line in lines if line["message"] == "request"][-2:] == ["/connect/token", "/\r\n"]
    start_message = [line for line in output.splitlines() if line and not line.startswith("{")]
    assert all(line.startswith("  ") for line in start_message), start_message
