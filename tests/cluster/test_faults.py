"""Faults of the cluster while clients request tokens and an administrator creates clients."""

import time
from collections.abc import Callable

import pytest

from .cluster import Cluster, PostgreSQL
from .load import RESTART_SECONDS, Callers
from .processes import Process, wait_for
from .trials import Results, run

START_AGAIN_SECONDS = 1
"""As `RestartSec` of a systemd unit."""
FAILOVER_SECONDS = 40
PAUSE_SECONDS = 30


def kill_and_restart(process: Process) -> None:
    """Kill the process; systemd starts it again."""
    process.kill()
    time.sleep(START_AGAIN_SECONDS)
    process.start()


def primary_of(cluster: Cluster) -> PostgreSQL:
    """Return the primary of PostgreSQL."""
    found = cluster.primary()
    assert found
    return found


def wait_for_another(cluster: Cluster, former: PostgreSQL) -> None:
    """Wait until another node is the primary."""
    others = [node for node in cluster.postgresql if node is not former]
    wait_for(lambda: any(node.is_primary() for node in others), FAILOVER_SECONDS, "another primary")


def kill_postgresql(cluster: Cluster) -> None:
    """Kill PostgreSQL on the primary; its Patroni keeps running."""
    primary = primary_of(cluster)
    primary.kill_postmaster()
    wait_for_another(cluster, primary)


def kill_node(cluster: Cluster) -> None:
    """Kill all processes on the primary's host."""
    primary = primary_of(cluster)
    primary.kill()
    wait_for_another(cluster, primary)


def pause_node(cluster: Cluster) -> None:
    """Stop all processes on the primary's host for half a minute."""
    primary, began = primary_of(cluster), time.monotonic()
    primary.pause()
    wait_for_another(cluster, primary)
    time.sleep(max(0, began + PAUSE_SECONDS - time.monotonic()))
    primary.resume()


def disconnect_node(cluster: Cluster) -> None:
    """Disconnect the primary's host from the network."""
    if not cluster.network.can_disconnect:
        pytest.skip("only root can disconnect a host from the network")
    primary = primary_of(cluster)
    cluster.network.disconnect(primary.number)
    wait_for_another(cluster, primary)


def kill_redis(cluster: Cluster) -> None:
    """Kill the primary of Redis; another takes over, and it returns as a replica."""
    former = cluster.redis_primary()
    former.kill()
    wait_for(lambda: cluster.redis_primary() is not former, FAILOVER_SECONDS, "another primary of Redis")


@pytest.mark.parametrize(
    ("name", "trials", "fault"),
    [
        pytest.param("kill -9 of PostgreSQL, the primary", 2, kill_postgresql, id="postgresql"),
        pytest.param("kill -9 of the primary's host", 1, kill_node, id="node"),
        pytest.param("SIGSTOP of the primary's host for 30 s", 1, pause_node, id="pause"),
        pytest.param("the primary's host disconnected from the network", 2, disconnect_node, id="disconnect"),
        pytest.param("kill -9 of PgBouncer", 2, lambda cluster: kill_and_restart(cluster.pgbouncer), id="pgbouncer"),
        pytest.param("kill -9 of HAProxy", 2, lambda cluster: kill_and_restart(cluster.haproxy), id="haproxy"),
        pytest.param("kill -9 of etcd's leader", 2, lambda cluster: kill_and_restart(cluster.etcd_leader()), id="etcd"),
        pytest.param("kill -9 of Redis, the primary", 2, kill_redis, id="redis"),
    ],
)
def test_fault(
    cluster: Cluster,
    callers: Callers,
    results: Results,
    name: str,
    trials: int,
    fault: Callable[[Cluster], None],
) -> None:
    """No acknowledged change is lost, no request hangs, and refused callers get `Retry-After` (D8)."""
    done = [run(cluster, callers, fault) for _ in range(trials)]
    results.add(name, done)
    assert [trial.violations for trial in done] == [[]] * trials


@pytest.mark.parametrize("name", ["nginx", "Caddy"])
def test_fault_of_a_host(cluster: Cluster, callers: Callers, results: Results, name: str) -> None:
    """An application host is killed, behind each of the proxies; its socket stays open."""
    proxy = cluster.nginx_address if name == "nginx" else cluster.caddy_address
    done = [
        run(
            cluster,
            callers,
            lambda cluster: kill_and_restart(cluster.hosts[at % 2]),  # noqa: B023
            proxy=proxy,
            slow_seconds=RESTART_SECONDS,
        )
        for at in range(2)
    ]
    results.add(f"kill -9 of one of our hosts, behind {name}", done)
    assert [trial.violations for trial in done] == [[], []]
