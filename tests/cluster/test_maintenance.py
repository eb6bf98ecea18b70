"""Restart, upgrade and change of keys on two hosts under load without a failed request."""

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe

import jwt
import pytest

from tests.support import servers

from .cluster import Cluster, Host
from .load import RESTART_SECONDS, Caller, Callers, make_callers
from .trials import Results, run

APART_SECONDS = 2
SIDE_BY_SIDE_SECONDS = 2
PREVIOUS = "ba023bf90585e517931a01237035f2e5ce43ed8a"
"""The previous version as long as no release has it in its history. Versions before it refuse tables of a newer one."""
PEPPER, KEY_ENCRYPTION_KEY = "IDENTITY_CLIENTS_PEPPER", "IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY"


def restart_both(cluster: Cluster) -> None:
    """Restart one host, and the other two seconds later."""
    threads = [threading.Thread(target=host.restart, daemon=True) for host in cluster.hosts]
    threads[0].start()
    time.sleep(APART_SECONDS)
    threads[1].start()
    for thread in threads:
        thread.join()


def restart_in_turn(cluster: Cluster) -> None:
    """Restart one host after the other."""
    for host in cluster.hosts:
        host.restart()


@pytest.mark.parametrize("_trial", [1, 2])
def test_restart_of_both_hosts(cluster: Cluster, callers: Callers, results: Results, _trial: int) -> None:
    """Both hosts are restarted nearly at once, and each request waits for a process that serves it."""
    trials = run(
        cluster,
        callers,
        restart_both,
        proxies=(cluster.nginx_address, cluster.caddy_address),
        may_be_busy=(False, False),
        slow_seconds=RESTART_SECONDS,
    )
    for name, trial in zip(("nginx", "Caddy"), trials, strict=True):
        results.add(f"restart of both hosts 2 s apart, behind {name}", trial)
    assert [trial.violations for trial in trials] == [[], []]


def test_changing_keys(cluster: Cluster, callers: Callers, results: Results) -> None:
    """Pepper and key-encryption key are changed in two steps, and no token is refused (S2, T9)."""
    old_pepper, old_key = cluster.settings[PEPPER].removeprefix("1:"), cluster.settings[KEY_ENCRYPTION_KEY]
    new_pepper, new_key = token_urlsafe(32), token_urlsafe(32)

    def change(cluster: Cluster) -> None:
        cluster.settings[PEPPER] = f"1:{old_pepper},2:{new_pepper}"
        cluster.settings[KEY_ENCRYPTION_KEY] = f"{old_key},{new_key}"
        restart_in_turn(cluster)
        cluster.settings[PEPPER] = f"2:{new_pepper},1:{old_pepper}"
        cluster.settings[KEY_ENCRYPTION_KEY] = f"{new_key},{old_key}"
        restart_in_turn(cluster)
        cluster.flask("identity-clients keys rotate")

    [trial] = run(cluster, callers, change, may_be_busy=(False,), slow_seconds=RESTART_SECONDS)
    results.add("change of pepper, key-encryption key and signing key", trial)
    assert trial.violations == []
    caller = Caller(cluster.nginx_address)
    keys = jwt.PyJWKSet.from_json(caller.request("/.well-known/jwks.json").data.decode())
    caller.close()
    assert len(keys.keys) == 2
    for token in trial.load.tokens:
        kid = jwt.get_unverified_header(token)["kid"]
        jwt.decode(token, keys[kid], ["ES256"], audience=cluster.settings["IDENTITY_CLIENTS_AUDIENCE"])


@pytest.fixture
def previous(cluster: Cluster) -> Iterator[Path]:
    """Return the working tree of the version before this one, whose hosts use a separate database."""
    tree = cluster.directory / "previous"
    tree.mkdir()
    if git("cat-file", "-t", PREVIOUS).returncode:
        pytest.skip(f"the history of this clone does not reach back to {PREVIOUS}")
    tags = git("tag", "--list", "v*", "--contains", PREVIOUS, "--merged", "HEAD^", "--sort=-version:refname")
    version = (tags.stdout.decode().split() or [PREVIOUS])[0]
    subprocess.run(["tar", "-x"], cwd=tree, input=git("archive", version).stdout, check=True)
    before = dict(cluster.settings)
    url = before["IDENTITY_CLIENTS_DATABASE_URL"]
    cluster.settings["IDENTITY_CLIENTS_DATABASE_URL"] = f"{url.rpartition('/')[0]}/previous"
    primary = cluster.primary()
    assert primary
    primary.query("CREATE DATABASE previous OWNER mas")
    cluster.flask("mas upgrade", tree=tree)
    replace_both(cluster, tree)
    for host in cluster.hosts:
        host.start()
    cluster.add_account(tree=tree)
    cluster.restart_missing()
    yield tree
    cluster.settings.clear()
    cluster.settings.update(before)
    replace_both(cluster, servers.ROOT)
    shutil.rmtree(tree)


def git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run git in our clone."""
    return subprocess.run(["git", *arguments], cwd=servers.ROOT, capture_output=True)


def replace(cluster: Cluster, index: int, tree: Path) -> None:
    """Stop a host, and start it with the code of another tree."""
    cluster.hosts[index].stop()
    cluster.hosts[index] = Host(cluster, index, tree=tree, listener=cluster.hosts[index].listener)
    cluster.hosts[index].restart()


def replace_both(cluster: Cluster, tree: Path) -> None:
    """Kill both hosts; their next start, at the latest by `restart_missing`, is with the code of another tree."""
    for index, host in enumerate(cluster.hosts):
        host.kill()
        cluster.hosts[index] = Host(cluster, index, tree=tree, listener=host.listener)


def test_rolling_upgrade(cluster: Cluster, previous: Path, results: Results) -> None:
    """Tables first, then one host after the other; then the code of one host is downgraded while the tables stay."""
    callers = make_callers(cluster.nginx_address, 5)

    def upgrade(cluster: Cluster) -> None:
        cluster.flask("mas upgrade")
        for index in range(2):
            replace(cluster, index, servers.ROOT)
            time.sleep(SIDE_BY_SIDE_SECONDS)
        replace(cluster, 0, previous)
        time.sleep(SIDE_BY_SIDE_SECONDS)

    [trial] = run(cluster, callers, upgrade, may_be_busy=(False,), slow_seconds=RESTART_SECONDS)
    results.add("upgrade of both hosts, and back with one", trial)
    assert trial.violations == []
