"""`docs/embedding.md`, followed word for word on a bare Flask application with only the wheel."""

import ast
import dataclasses
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from jinja2 import ChoiceLoader, DictLoader
from sqlalchemy import Engine, create_engine
from sqlalchemy import inspect as inspect_database

from tests.support.embedding import TOKEN, VALUES, create, embed
from tests.support.endpoint import settings
from tests.support.factories import make_client
from tests.support.host import HTMX, NORTHWIND, PREFIX
from tests.support.live import Site
from tests.support.portal import DIFF, EXAMPLE
from tests.support.servers import ROOT, START_SECONDS, STOP_SECONDS, free_port
from webapp import Actor, FieldError, IdentityClients
from webapp.cli import commands
from webapp.core.audit import signals
from webapp.core.database.engine import make_engine
from webapp.host import actor_from_flask_login
from webapp.settings import Settings

GUIDE = (ROOT / "docs" / "embedding.md").read_text("utf-8")
SLOW_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it belongs to, its text."""

    language: str
    file: str
    text: str


def section(heading: str) -> str:
    """Return the text below a heading, up to the next of the same level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n", GUIDE, re.MULTILINE)
    assert found, heading
    rest = GUIDE[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", re.sub(r"```.*?```", _blank, rest, flags=re.DOTALL), re.MULTILINE)
    return rest[: end.start()] if end else rest


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def blocks(heading: str) -> list[Block]:
    """Return the fenced blocks of a section."""
    found = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```", section(heading), re.MULTILINE | re.DOTALL)
    return [Block(*parts) for parts in found]


class Follower:
    """Run the commands of the guide, with the wheel.

    Three things differ from a machine with a network: pip takes what the wheel depends on from the environment that
    runs the tests, `flask` is called as a module since it was not installed into this one, and the port is free.
    """

    def __init__(self, directory: Path, wheel: Path) -> None:
        self.directory, self.port = directory, free_port()
        shutil.copy(wheel, directory)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], check=True)
        python = directory / "venv" / "bin" / "python"
        (packages,) = directory.glob("venv/lib/python*/site-packages")
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        for name, command in {
            "pip": f'"{sys.executable}" -m pip --quiet --python "{python}" "$@" --no-index',
            "flask": f'"{python}" -m flask "$@"',
        }.items():
            shim = python.with_name(name)
            shim.write_text(f"#!/bin/sh\nexec {command}\n")
            shim.chmod(0o755)
        self.environment = {"PATH": f"{python.parent}:{os.environ['PATH']}", "FLASK_RUN_PORT": str(self.port)}

    def follow(self, heading: str) -> str:
        """Run a section's commands and write its files; return the output. Exported variables stay set."""
        printed = ""
        for block in blocks(heading):
            if block.file:
                path = self.directory / block.file
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(("\n\n" if file.tell() else "") + block.text)
            elif block.language == "sh" and block.text != "flask run\n":
                printed += self.run_shell(block.text)
        return printed

    def run_shell(self, script: str) -> str:
        """Run lines in a shell."""
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", f"{script}\nenv -0 > environment"],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SLOW_SECONDS,
        )
        assert done.returncode == 0, script + done.stdout + done.stderr
        lines = (self.directory / "environment").read_text().split("\0")
        self.environment = dict(line.split("=", 1) for line in lines if line)
        return done.stdout

    def run(self) -> subprocess.Popen[bytes]:
        """Start `flask run` as the guide says, and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", "exec flask run"], cwd=self.directory, env=self.environment, stdout=log, stderr=log
            )
        deadline, site = time.monotonic() + START_SECONDS, Site(self.url)
        while True:
            try:
                site.get("/sign-in")
            except OSError:
                assert process.poll() is None, (self.directory / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                site.session.close()
                return process

    @property
    def url(self) -> str:
        """The address of the application."""
        return f"http://127.0.0.1:{self.port}"


def test_the_guide_word_for_word(wheel: Path, tmp_path: Path) -> None:
    """From an empty directory to the list, a client and its token; then signals, housekeeping, and removal."""
    follower = Follower(tmp_path, wheel)
    assert "up to date" in follower.follow("In ten minutes")
    follower.follow("Signals")
    process = follower.run()
    try:
        site = Site(follower.url)
        address = re.search(r"Open `http://127.0.0.1:5000(\S+)`", GUIDE)
        assert address
        requested = site.get(address[1])
        assert requested.url.startswith(f"{follower.url}/sign-in?next=")
        shown = site.session.post(requested.url, data={"name": "Ann"}, timeout=10)
        assert shown.url == follower.url + address[1]
        assert "No clients yet" in shown.text
        assert "<header>Portal</header>" in shown.text
        assert "<title>Identity Clients - Portal</title>" in shown.text
        assert site.create(VALUES, address[1]).status_code == 200
        form = TOKEN | {"client_id": VALUES["client_id"], "client_secret": VALUES["client_secret"]}
        assert site.post("/connect/token", form).json()["expires_in"] == 25 * 60
        lines = [json.loads(line) for line in (tmp_path / "clients.jsonl").read_text().splitlines()]
        assert [(line["signal"], line["client_id"], line["actor_label"]) for line in lines] == [
            ("created", VALUES["client_id"], "Ann")
        ]
        site.session.close()
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
    printed = follower.follow("Scheduled jobs")
    assert "New reasons for attention: 0" in printed
    assert "Deleted:" in printed
    engine = create_engine(f"sqlite:///{tmp_path}/data/clients.sqlite3")
    assert inspect_database(engine).get_table_names()
    follower.follow("Uninstall")
    assert inspect_database(engine).get_table_names() == []
    engine.dispose()


# Statements about the code


def rows(heading: str) -> list[list[str]]:
    """Return the cells of a section's table, without its heading."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def quoted(text: str) -> list[str]:
    """Return the parts of a text that are in backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def test_the_table_of_the_actor_lists_its_fields() -> None:
    assert [quoted(row[0])[0] for row in rows("The actor")] == [field.name for field in dataclasses.fields(Actor)]
    sentence = re.search(r"read by the attributes (.*?)\.\n", section("The actor"), re.DOTALL)
    assert sentence
    code = inspect.getsource(actor_from_flask_login)
    for name in quoted(sentence[1]):
        assert re.search(rf"user\.{name}\b|\"{name}\"", code), name


def test_every_named_setting_and_command_exists() -> None:
    settings = {field.name.upper() for field in dataclasses.fields(Settings)}
    text = re.sub(r"```.*?```", "", GUIDE, flags=re.DOTALL)
    names = {name for name in quoted(text) if re.fullmatch(r"[A-Z]+(_[A-Z]+)*", name)} - {"SCRIPT_NAME"}
    assert names - settings == set()
    assert len(names) > 8
    assert set(re.findall(r"IDENTITY_CLIENTS_([A-Z_]+)", GUIDE)) - settings == {"ENGINE"} - settings
    for command in re.findall(r"flask identity-clients ([a-z]+)", GUIDE):
        assert command in commands.commands, command


def test_the_custom_properties_match_the_stylesheet() -> None:
    style = (ROOT / "static/identity_clients/css/theme.css").read_text("utf-8")
    listed = [name for row in rows("Theming") for name in quoted(row[0])]
    assert sorted(listed) == sorted(set(re.findall(r"(--ic-[a-z-]+):", style)))


def test_the_signals_match_the_code() -> None:
    sentence = re.search(r"after it is committed: (.*?) \(", section("Signals"), re.DOTALL)
    assert sentence
    assert set(quoted(sentence[1])) == set(signals.namespace)
    (block,) = [block for block in blocks("Signals") if block.file == "signals_to_file.py"]
    assert block.text == (ROOT / "examples/signals_to_file.py").read_text("utf-8")
    (names,) = re.findall(r"^NAMES = (\(.*\))$", block.text, re.MULTILINE)
    assert set(ast.literal_eval(names)) == set(signals.namespace)


def test_the_example_uses_the_lines_of_the_guide() -> None:
    """Those of `base.html`, of Alembic and of the engine, and the diff that the guide mentions."""
    frame = (EXAMPLE / "webapp/templates/identity_clients/base.html").read_text("utf-8")
    assert blocks("Layout and templates")[0].text == frame
    environment = (EXAMPLE / "migrations/env.py").read_text("utf-8")
    (lines,) = [block.text for block in blocks("Alembic")]
    assert lines in environment
    assert "include_object=include_object)" in environment
    (engine,) = [block.text for block in blocks("Database") if "IDENTITY_CLIENTS_ENGINE" in block.text]
    assert "".join(f"    {line}\n" for line in engine.splitlines()) in (EXAMPLE / "webapp/__init__.py").read_text(
        "utf-8"
    )
    assert f"`{DIFF.name}`" in GUIDE


def test_the_short_form_in_the_readme() -> None:
    """Its lines are valid, its actor has only existing fields, and it links to the guide."""
    readme = (ROOT / "README.md").read_text("utf-8")
    part = readme.partition("\n## Embed\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    (made,) = [call for call in calls if ast.unparse(call.func) == "Actor"]
    assert {word.arg for word in made.keywords} <= {field.name for field in dataclasses.fields(Actor)}
    assert "](docs/embedding.md)" in part
    assert f"`{DIFF.name}`" in part


# Single blocks, each in an application of its own


@pytest.fixture
def engine(sqlite_url: str) -> Iterator[Engine]:
    engine = make_engine(sqlite_url)
    yield engine
    engine.dispose()


def run_block(heading: str, contains: str, **names: Any) -> dict[str, Any]:
    """Run one block of Python with these names."""
    (block,) = [block for block in blocks(heading) if contains in block.text and block.language == "python"]
    exec(compile(block.text, heading, "exec"), names)
    return names


def test_an_actor_of_a_gateway(engine: Engine) -> None:
    loaders: list[Callable[[], Actor | None]] = []
    identity_clients = IdentityClients()
    run_block(
        "The actor", "X-Gateway-User", identity_clients=identity_clients, request=request, Actor=Actor, found=loaders
    )
    app = embed(Flask("host"), engine, identity_clients._load_actor)
    browser = app.test_client()
    assert browser.get(PREFIX).status_code == 401
    headers = {"X-Gateway-User": "ann", "X-Gateway-Account": "northwind", "X-Gateway-Roles": "MerchantAdmin"}
    assert browser.get(PREFIX, headers=headers).status_code == 200
    assert browser.get(PREFIX, headers=headers | {"X-Gateway-Roles": "Clerk"}).status_code == 403


def test_a_policy_of_the_host(engine: Engine) -> None:
    identity_clients = IdentityClients()
    identity_clients.actor_loader(lambda: NORTHWIND)
    run_block("Your own policy", "before_change", identity_clients=identity_clients, FieldError=FieldError)
    app = Flask("host")
    app.secret_key = "k" * 32
    app.config.update(settings(ENGINE=engine))
    identity_clients.init_app(app)
    browser = app.test_client()
    assert "IDs of Northwind begin with nw-." in create(browser).text
    long = create(browser, client_id="nw-payments", roles="CreatePayment", token_duration="16")
    assert "at most 15 minutes" in long.text
    assert create(browser, client_id="nw-payments", roles="CreatePayment", token_duration="15").status_code == 200


def test_default_limits_of_flask_limiter(engine: Engine) -> None:
    make_client(engine, account_id="northwind", client_id="first-client")
    app = Flask("host")
    limiter = Limiter(get_remote_address, app=app, default_limits=["1 per hour"], storage_uri="memory://")
    browser = embed(app, engine).test_client()
    run_block("Rate limits of your application", "limiter.exempt", limiter=limiter, app=app)
    for _ in range(3):
        assert browser.post("/connect/token", base_url="https://localhost", data=TOKEN).status_code == 200
    assert [browser.get(PREFIX).status_code for _ in range(2)] == [200, 429]


def test_a_layout_that_needs_variables(engine: Engine) -> None:
    app = Flask("host")
    layout = "<title>{% block ic_title %}{% endblock %}</title>{% block ic_head %}{% endblock %}[{{ base_template }}]"
    app.jinja_loader = DictLoader({"identity_clients/base.html": layout + "{% block ic_content %}{% endblock %}"})
    run_block("Layout and templates", "appbuilder", app=app, appbuilder=SimpleNamespace(base_template="the builder's"))
    assert "[the builder&#39;s]" in embed(app, engine).test_client().get(PREFIX).text


def test_a_naive_time_of_sign_in(engine: Engine) -> None:
    signed_in_at = run_block("The actor", "current_login_at")["signed_in_at"]
    now = datetime.now(UTC).replace(tzinfo=None)
    for at, status in ((now, 200), (now - timedelta(minutes=31), 401), (None, 200)):
        actor = dataclasses.replace(NORTHWIND, signed_in_at=signed_in_at(SimpleNamespace(current_login_at=at)))
        browser = embed(Flask("host"), engine, partial(dataclasses.replace, actor)).test_client()
        assert create(browser, client_id=f"client-of-{status}-{at is None}").status_code == status


def test_a_change_of_an_account(engine: Engine) -> None:
    """The values apply to the next token (A4, A7)."""
    make_client(engine, account_id="company", client_id="first-client", roles=("CreatePayment", "AccountViewer"))
    app = embed(Flask("host"), engine)

    def scopes() -> set[str]:
        answer = app.test_client().post("/connect/token", base_url="https://localhost", data=TOKEN)
        return set(answer.get_json().get("scope", "").split())

    before = scopes()
    run_block("When an account changes", "account_changed", identity_clients=IdentityClients, app=app)
    assert scopes() < before
    assert scopes()


def test_a_hook_that_demands_a_sign_in(engine: Engine) -> None:
    app = Flask("host")
    run_block("Sign-in before every request", "demand_sign_in", app=app, request=request)
    make_client(engine, account_id="northwind", client_id="first-client")
    embed(app, engine)
    answer = app.test_client().post("/connect/token", base_url="https://localhost", data=TOKEN)
    assert answer.status_code == 200


def test_a_policy_that_is_widened(engine: Engine) -> None:
    app = Flask("host")
    run_block("Headers", "widen_policy", app=app, request=request)
    embed(app, engine)
    policy = app.test_client().get(PREFIX).headers["Content-Security-Policy"].split("; ")
    assert "font-src 'self' https://fonts.example.com" in policy
    assert len(policy) == len({directive.split()[0] for directive in policy})
    refused = app.test_client().post("/connect/token", base_url="https://localhost")
    assert "fonts" not in refused.headers["Content-Security-Policy"]


def test_below_a_sub_path_by_a_dispatcher(engine: Engine) -> None:
    app = embed(Flask("host"), engine, issuer="https://localhost/portal")
    run_block("Proxies and sub-paths", "DispatcherMiddleware", app=app)
    browser = app.test_client()
    listed = browser.get(f"/portal{PREFIX}")
    assert f'href="/portal{PREFIX}/new"' in listed.text
    assert browser.get(PREFIX).status_code == 404
    known = browser.get("/.well-known/oauth-authorization-server/portal").get_json()
    assert known["issuer"] == "https://localhost/portal"
    assert known["token_endpoint"] == "https://localhost/portal/connect/token"
    assert browser.get("/portal/.well-known/jwks.json").status_code == 200


OVERRIDES: dict[str, Callable[[Any], Any]] = {
    "base.html": lambda host: host.get(""),
    "components/_no_access.html": lambda host: host.get("", roles=frozenset()),
    "components/_not_enabled.html": lambda host: host.get("", feature_enabled=False),
    "components/error.html": lambda host: host.get("/nonsense"),
    "components/_signed_out.html": lambda host: host.post("/new", id=""),
    "components/_sign_in_again.html": lambda host: host.create_long_after_sign_in(),
    "secrets/_handover.html": lambda host: host.create(),
}


class Overriding:
    """A host with one overridden template."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.actor = NORTHWIND
        self.app = Flask("host")
        page = re.findall("```html\n(.*?)```", section("Templates that you may override"), re.DOTALL)[0]
        text = page if name == "components/error.html" else "the host's own words"
        own = DictLoader({f"identity_clients/{name}": text})
        self.app.jinja_loader = ChoiceLoader([own, self.app.jinja_loader]) if self.app.jinja_loader else own
        embed(self.app, engine, lambda: self.actor)
        self.client = self.app.test_client()

    def get(self, path: str, **changes: Any) -> Any:
        self.actor = dataclasses.replace(NORTHWIND, **changes)
        return self.client.get(PREFIX + path)

    def post(self, path: str, **changes: Any) -> Any:
        self.actor = dataclasses.replace(NORTHWIND, **changes)
        return self.client.post(PREFIX + path, headers=HTMX)

    def create(self) -> Any:
        return create(self.client, htmx=True)

    def create_long_after_sign_in(self) -> Any:
        self.actor = dataclasses.replace(NORTHWIND, signed_in_at=datetime(2026, 1, 1, tzinfo=UTC))
        return create(self.client, htmx=True)


def test_the_list_of_templates_is_tested() -> None:
    assert [quoted(row[0])[0] for row in rows("Templates that you may override")] == list(OVERRIDES)


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_template_may_be_overridden(engine: Engine, name: str) -> None:
    """The page is rendered from the host's template."""
    assert "the host's own words" in OVERRIDES[name](Overriding(engine, name)).text
    assert (ROOT / "templates" / "identity_clients" / name).read_text("utf-8").startswith("{# ")
