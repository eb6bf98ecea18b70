"""`docs/settings.md` lists every setting, signal, template and block of the code, and its examples work."""

import re
from ast import literal_eval
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jinja2 import Environment, nodes
from sqlalchemy import create_engine

from tests.support import servers
from tests.support.factories import make_client
from tests.support.guide import SETTINGS, blocks, section
from tests.support.host import Host
from webapp.core.audit import signals
from webapp.core.clients.roles import RoleCatalogue
from webapp.settings import PREFIX, Settings

SETTING_SECTIONS = (
    "Required",
    "In the host",
    "Secrets and sign-in",
    "Signing keys",
    "Rate limits and quotas",
    "Monitoring",
    "Notifications",
    "Retention",
    "Network",
)
TEMPLATES = servers.ROOT / "templates" / "identity_clients"
README = (servers.ROOT / "README.md").read_text("utf-8")


def rows(text: str) -> list[list[str]]:
    """Return the cells of each row of a section's table."""
    found = re.findall(r"^\| (`.*) \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in row.split(" |")] for row in found]


def quoted(cell: str) -> list[str]:
    """Return the parts of a cell that are in code style."""
    return re.findall(r"`([^`]+)`", cell)


ROWS = [row for heading in SETTING_SECTIONS for row in rows(section(heading, SETTINGS))]
DOCUMENTED = {row[0].strip("`"): row[1:] for row in ROWS}
NEEDED = {
    f"{PREFIX}{name}": literal_eval(DOCUMENTED[name][2].strip("`"))
    for name in ("ISSUER", "AUDIENCE", "PEPPER", "KEY_ENCRYPTION_KEY", "DATABASE_URL", "MAIL_FROM")
}


# Settings


def test_every_setting_is_documented_with_its_default() -> None:
    defaults = {field.name.upper(): field.default for field in fields(Settings)}
    assert sorted(row[0].strip("`") for row in ROWS) == sorted(defaults)
    for name, (default, meaning, _) in DOCUMENTED.items():
        assert meaning, name
        assert (MISSING if default == "required" else literal_eval(default.strip("`"))) == defaults[name], name


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_example_of_a_setting_is_valid_and_not_its_default(name: str) -> None:
    example = DOCUMENTED[name][2]
    value: Any
    if name == "ENGINE":
        value = create_engine("sqlite://")
    elif name == "API_ROLES":
        app = Flask("mas")
        exec(
            blocks("In the host", "python", SETTINGS)[0].replace("identity_clients import", "webapp import"),
            {"app": app},
        )
        value = app.config[f"{PREFIX}API_ROLES"]
        assert list(RoleCatalogue(value)) == ["InvoiceReader", "Payer"]
    else:
        value = literal_eval(example.strip("`"))
    settings = Settings.from_config({**NEEDED, f"{PREFIX}{name}": value})
    assert getattr(settings, name.lower()) == value
    assert value != next(field.default for field in fields(Settings) if field.name == name.lower())


def test_readme_names_settings_that_exist_with_their_defaults() -> None:
    table = {row[0].strip("`"): row[1] for row in rows(section("Settings", README))}
    assert set(table) <= set(DOCUMENTED)
    assert {name for name, row in DOCUMENTED.items() if row[0] == "required"} <= set(table)
    assert "docs/settings.md" in section("Settings", README)


# Signals


def test_every_signal_is_documented_with_the_actions_that_send_it() -> None:
    documented = {row[0].strip("`"): row for row in rows(section("Signals", SETTINGS))}
    assert set(documented) == set(signals.namespace)
    for name, (_, when, *actions) in documented.items():
        assert when.removesuffix(";").split(";")[0].lower() in (signals.namespace[name].__doc__ or "").lower(), name
        sent = {action.value for action, signal in signals._BY_ACTION.items() if signal.name == name}
        assert set(" ".join(actions).split("; ")[0].split(", ")) - {""} == sent, name


def test_the_example_of_a_signal_appends_to_a_file(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module: dict[str, Any] = {}
    exec(blocks("Signals", "python", SETTINGS)[0].replace("identity_clients import", "webapp import"), module)
    make_client(host.engine, account_id="northwind", client_id="northwind-1")
    make_client(host.engine, account_id="northwind", client_id="northwind-2")
    for signal in (signals.created, signals.secret_changed):
        signal.disconnect(module["note"])
    lines = (tmp_path / "identity-clients.log").read_text().splitlines()
    assert [re.sub(r"^[-\d]+ [:\d]+ ", "", line) for line in lines] == [
        "admin@northwind.example: northwind-1 created",
        "admin@northwind.example: northwind-2 created",
    ]


# Templates


def test_every_template_that_a_host_may_override_is_documented() -> None:
    """With its blocks and variables, in docs/settings.md and in the guide to embedding."""
    openings = {path: path.read_text("utf-8").split("#}")[0] for path in sorted(TEMPLATES.rglob("*.html"))}
    may = {
        path.relative_to(TEMPLATES).as_posix(): path
        for path, opening in openings.items()
        if "a host may override this file" in opening
    }
    documented = {row[0].strip("`"): row[1:] for row in rows(section("Templates", SETTINGS))}
    assert set(documented) == set(may)
    for name, (_, blocks_, given) in documented.items():
        found = Environment().parse(may[name].read_text("utf-8")).find_all(nodes.Block)
        assert quoted(blocks_) == [block.name for block in found], name
        assert all(variable in openings[may[name]] for variable in quoted(given)), name
    guide = (servers.ROOT / "docs" / "embedding.md").read_text("utf-8")
    assert {row[0].strip("`") for row in rows(section("Templates that you may override", guide))} == set(may)
