"""Faults of the cluster while clients request tokens and an administrator creates clients."""

import time
from collections.abc import Callable
from typing import NamedTuple

import pytest

from .cluster import Cluster, PostgreSQL
from .load import RESTART_SECONDS, Callers
from .processes import Process, wait_for
from .trials import Results, check_acknowledged, run

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
    primary = primary_of(cluster)
    cluster.network.disconnect(primary.number)
    wait_for_another(cluster, primary)


def kill_redis(cluster: Cluster) -> None:
    """Kill the primary of Redis; another takes over, and it returns as a replica."""
    former = cluster.redis_primary()
    former.kill()
    wait_for(lambda: cluster.redis_primary() is not former, FAILOVER_SECONDS, "another primary of Redis")


class Fault(NamedTuple):
    """A fault of one component.

    :param needs: waits until the component has recovered from the fault before.
    """

    name: str
    cause: Callable[[Cluster], None]
    needs: Callable[[Cluster], None] = lambda _: None


FAULTS = {
    "postgresql": Fault("kill -9 of PostgreSQL, the primary", kill_postgresql, Cluster.wait_for_postgresql),
    "node": Fault("kill -9 of the primary's host", kill_node, Cluster.wait_for_postgresql),
    "disconnect": Fault(
        "the primary's host disconnected from the network", disconnect_node, Cluster.wait_for_postgresql
    ),
    "pause": Fault("SIGSTOP of the primary's host for 30 s", pause_node, Cluster.wait_for_postgresql),
    "pgbouncer": Fault("kill -9 of PgBouncer", lambda cluster: kill_and_restart(cluster.pgbouncer)),
    "haproxy": Fault("kill -9 of HAProxy", lambda cluster: kill_and_restart(cluster.haproxy)),
    "etcd": Fault("kill -9 of etcd's leader", lambda cluster: kill_and_restart(cluster.etcd_leader())),
    "redis": Fault("kill -9 of Redis, the primary", kill_redis, Cluster.wait_for_redis),
}
# While PostgreSQL or Redis recovers from its fault, the next trials are those of other components.
TRIALS = (
    "postgresql", "pgbouncer", "node", "haproxy", "etcd", "redis", "disconnect", "pgbouncer", "etcd", "postgresql",
    "haproxy", "redis", "pause", "pgbouncer", "node", "haproxy", "etcd", "redis", "disconnect", "postgresql",
)  # fmt: skip


@pytest.mark.parametrize(
    "fault", [pytest.param(FAULTS[kind], id=f"{kind}-{TRIALS[:at].count(kind) + 1}") for at, kind in enumerate(TRIALS)]
)
def test_fault(cluster: Cluster, callers: Callers, results: Results, fault: Fault) -> None:
    """No acknowledged change is lost, no request hangs, and refused callers get `Retry-After` (D8)."""
    if fault.cause is disconnect_node and not cluster.network.can_disconnect:
        pytest.skip("no host can be disconnected: network namespaces need root, and CAP_NET_ADMIN and CAP_SYS_ADMIN")
    fault.needs(cluster)
    [trial] = run(cluster, callers, fault.cause)
    results.add(fault.name, trial)
    assert trial.violations == []


@pytest.mark.parametrize("trial", [1, 2, 3])
def test_fault_of_a_host(cluster: Cluster, callers: Callers, results: Results, trial: int) -> None:
    """An application host is killed, and its socket stays open: nginx repeats what it had begun, Caddy cannot."""
    trials = run(
        cluster,
        callers,
        lambda cluster: kill_and_restart(cluster.hosts[trial % 2]),
        proxies=(cluster.nginx_address, cluster.caddy_address),
        may_be_busy=(False, True),
        slow_seconds=RESTART_SECONDS,
    )
    for name, done in zip(("nginx", "Caddy"), trials, strict=True):
        results.add(f"kill -9 of one of our hosts, behind {name}", done)
    assert [done.violations for done in trials] == [[], []]


def test_recovery(cluster: Cluster, results: Results) -> None:
    """After all faults the cluster is complete, no process uses a former primary, and still no client is lost."""
    cluster.wait_until_complete()
    assert check_acknowledged(cluster, results.created()) == (0, 0)
