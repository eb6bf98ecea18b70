"""Fixtures: one cluster for a run, and the table of results."""

import os
import platform
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support import servers

from . import cluster as clusters
from .cluster import Cluster
from .load import Callers, make_callers
from .trials import Results

HERE = Path(__file__).parent
PROGRAMS = {
    "etcd": "etcd --version",
    "patroni": "patroni --version",
    "haproxy": "haproxy -v",
    "pgbouncer": "pgbouncer --version",
    "redis-sentinel": "redis-server --version",
    "nginx": "nginx -v",
    "caddy": "caddy version",
    "openssl": "openssl version",
}
CLIENTS = 5
LOGS = servers.ROOT / "dist" / "cluster-logs"
"""Where the logs of a run that failed are kept."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip these tests unless the run names their folder, since they take minutes and both processors."""
    named = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    if not any(path == HERE or HERE in path.parents for path in named):
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="the cluster takes minutes: make test-cluster"))


@pytest.fixture(scope="session")
def _running(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    missing = [name for name in PROGRAMS if not shutil.which(name, path=clusters.PATH)]
    if missing:
        pytest.fail(f"Not installed: {', '.join(missing)}. Run: .ci/components cluster")
    if os.getuid() == 0:
        try:
            subprocess.run(["true"], user="nobody", group="nogroup", extra_groups=[], check=True)
        except PermissionError:
            pytest.skip("root may not run programs as another user here, and PostgreSQL does not run as root")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # a run that is stopped stops the cluster
    began = time.monotonic()
    with clusters.running() as cluster:
        print(f"\nThe cluster started in {time.monotonic() - began:.1f} s; its logs are in {cluster.directory}")
        try:
            yield cluster
        finally:
            shutil.rmtree(LOGS, ignore_errors=True)
            if request.session.testsfailed:
                LOGS.mkdir(parents=True)
                for log in cluster.directory.glob("*/*.log"):
                    shutil.copy(log, LOGS)
                print(f"The cluster's logs are in {LOGS}")


@pytest.fixture
def cluster(_running: Cluster) -> Cluster:
    """Return the cluster with all components running, although one may still catch up with another."""
    _running.restart_missing()
    return _running


@pytest.fixture(scope="session")
def callers(_running: Cluster) -> Callers:
    """Return clients that may request tokens, and one that may call the management API."""
    return make_callers(_running.nginx_address, CLIENTS)


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    """Return the table, which is written to `dist/cluster.md` at the end."""
    table = Results()
    yield table
    versions = ["Python " + platform.python_version()]
    for name, command in PROGRAMS.items():
        shown = subprocess.run(command.split(), capture_output=True, text=True, env={"PATH": clusters.PATH})
        if found := re.search(r"\d+\.\d[\w.]*", shown.stdout + shown.stderr):
            versions.append(f"{name} {found[0]}")
    heading = f"`make test-cluster` on {datetime.now(UTC):%d %B %Y}: {', '.join(versions)}."
    table.write(servers.ROOT / "dist" / "cluster.md", heading)
