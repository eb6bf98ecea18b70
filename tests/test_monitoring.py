"""The alert rules and the dashboard in `docs/monitoring`, and the page that describes them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.support import servers
from tests.support.endpoint import Endpoint
from webapp import IdentityClients

RULES = servers.ROOT / "docs" / "monitoring" / "alerts.yml"
DASHBOARD = servers.ROOT / "docs" / "monitoring" / "grafana.json"
PAGE = servers.ROOT / "docs" / "alerts.md"

# For each alert: series with their values, a minute apart, and the minute at which it fires; a minute before the
# first it does not.
FIRING = {
    "IdentityClientsDown": ([('up{job="identity-clients"}', "1 0x10")], 3),
    "IdentityClientsNotReady": ([("identity_clients_ready", "1 0x10")], 3),
    "IdentityClientsUnavailable": (
        [
            ('identity_clients_requests_total{outcome="success"}', "0+97x20"),
            ('identity_clients_requests_total{outcome="unavailable"}', "0+3x20"),
        ],
        8,
    ),
    "IdentityClientsSlow": (
        [
            ('identity_clients_request_seconds_bucket{endpoint="token",le="1.0"}', "0+98x30"),
            ('identity_clients_request_seconds_bucket{endpoint="token",le="2.5"}', "0+100x30"),
            ('identity_clients_request_seconds_bucket{endpoint="token",le="+Inf"}', "0+100x30"),
        ],
        13,
    ),
    "IdentityClientsTablesMissing": (
        [('identity_clients_database_errors_total{kind="missing_tables"}', "0 0 1x10")],
        3,
    ),
    "IdentityClientsSigningKeyOld": ([("identity_clients_signing_key_age_seconds", "7862401+60x90")], 65),
    "IdentityClientsRefusals": (
        [
            ('identity_clients_requests_total{endpoint="token",outcome="success"}', "0+49x60"),
            ('identity_clients_requests_total{endpoint="token",outcome="wrong_secret"}', "0+51x60"),
        ],
        20,
    ),
    "IdentityClientsArgon2Refused": ([("identity_clients_argon2_refused_total", "0+12x40")], 30),
    "IdentityClientsRecorderBehind": ([("identity_clients_recorder_backlog", "0 5001x20")], 12),
    "IdentityClientsRecorderLost": ([("identity_clients_recorder_lost_total", "0 0 5x10")], 3),
    "IdentityClientsRateLimitsNotShared": ([("identity_clients_rate_limits_not_shared", "0 1x10")], 7),
    "IdentityClientsNotificationsStuck": ([("identity_clients_notifications_oldest_seconds", "0 3601x30")], 17),
}


def alerts() -> list[str]:
    """Return the names of the alerts."""
    return re.findall(r"- alert: (\w+)", RULES.read_text("utf-8"))


def promtool() -> str:
    """Return the path of promtool, or skip the test."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: prometheus): the alert rules were not run")
    return program


def test_every_metric_exists(endpoint: Endpoint) -> None:
    registry = CollectorRegistry()
    registry.register(IdentityClients.metrics_collector(endpoint.app))
    exported = set(re.findall(r"^# TYPE (\w+)", generate_latest(registry).decode(), re.MULTILINE))
    for file in (RULES, DASHBOARD):
        used = set(re.findall(r"\bidentity_clients_\w+", file.read_text("utf-8")))
        assert used
        assert {name.removesuffix("_bucket") for name in used} <= exported


def test_the_page_describes_every_alert() -> None:
    assert sorted(re.findall(r"^\| `(\w+)`", PAGE.read_text("utf-8"), re.MULTILINE)) == sorted(alerts())
    assert sorted(FIRING) == sorted(alerts())


def test_the_dashboard() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(panels) == len({panel["id"] for panel in panels})
    assert all(target["expr"] for panel in panels for target in panel["targets"])


def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run([promtool(), "check", "rules", RULES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


def test_each_alert_fires(tmp_path: Path) -> None:
    """Each fires after its fault, and none does before."""
    cases = []
    for name, (series, minute) in FIRING.items():
        inputs = [{"series": each, "values": values} for each, values in series]
        cases.append(
            {
                "interval": "1m",
                "input_series": inputs,
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)',
                        "eval_time": f"{at}m",
                        "exp_samples": [{"labels": "{}", "value": int(at > 0)}],
                    }
                    for at in (0, minute)
                ],
            }
        )
    test = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}
    path = tmp_path / "test.yml"
    path.write_text(json.dumps(test), "utf-8")  # every JSON document is YAML too
    done = subprocess.run([promtool(), "test", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
