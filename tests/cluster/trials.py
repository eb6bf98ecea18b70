"""Run one fault under load, check the requirements during and after it, and write the table of results."""

import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import urllib3

from .cluster import NAME, Cluster, Host, ProxyAddress
from .load import SLOW_SECONDS, Caller, Callers, Client, Load, token_form
from .processes import wait_for

BEFORE_SECONDS = 1
AFTER_SECONDS = 1
RECOVERY_SECONDS = 40
AGAIN_SECONDS = 5
"""The time limit for the first token after the recovery of the failed component."""
SHARED_SECONDS = 15
ASK_SECONDS = 30
LOGGED_MAX = 20
FAILURES_PER_CLIENT_AND_ADDRESS = 10
DIRECT_REQUESTS = 10


@dataclass
class Trial:
    """The result of one fault behind one proxy.

    :param again_after: seconds from the recovery of the failed component to the first token.
    :param violations: descriptions of violated requirements.
    """

    load: Load
    lost: int
    again_after: float
    violations: list[str] = field(default_factory=list)


def run(
    cluster: Cluster,
    callers: Callers,
    fault: Callable[[Cluster], None],
    *,
    proxies: Sequence[ProxyAddress] = (),
    may_be_busy: Sequence[bool] = (True,),
    slow_seconds: float = SLOW_SECONDS,
) -> list[Trial]:
    """Cause a fault under load, wait until callers are served again, and check the requirements.

    :param fault: returns when the failed component is back or replaced.
    :param proxies: the proxies that callers connect to, each with a load of its own; empty for nginx.
    :param may_be_busy: whether 503 with `Retry-After` is allowed, for each proxy.
    :param slow_seconds: how long a response may take.
    :return: a trial for each proxy.
    """
    cluster.reset_rate_limits()
    logged = cluster.logged()
    loads = [Load(proxy, callers) for proxy in proxies or [cluster.nginx_address]]
    with contextlib.ExitStack() as running:
        for load in loads:
            running.enter_context(load)
        time.sleep(BEFORE_SECONDS)
        fault(cluster)
        back_at = time.monotonic()
        with contextlib.suppress(TimeoutError):
            served = lambda: all(load.has_succeeded_since(back_at) for load in loads)  # noqa: E731
            wait_for(served, RECOVERY_SECONDS, "an answer of each kind")
        time.sleep(AFTER_SECONDS)
    cluster.restart_missing()
    trials = []
    for load, busy in zip(loads, may_be_busy, strict=True):
        lost, unknown = check_acknowledged(cluster, load.created)
        trial = Trial(load, lost, load.first_token_after(back_at))
        trial.violations = [f"{count} answers: {each}" for each, count in load.refused(may_be_busy=busy).most_common(8)]
        if lost:
            trial.violations.append(f"{lost} acknowledged clients are lost")
        if unknown:
            trial.violations.append(f"{unknown} acknowledged clients get neither a token nor 401")
        slow = [answer for answer in load.answers if answer.seconds > slow_seconds]
        trial.violations += [f"{answer.kind}: {answer.status} took {answer.seconds:.1f} s" for answer in slow]
        if trial.again_after > AGAIN_SECONDS:
            trial.violations.append(f"no token for {trial.again_after:.1f} s after the end of the fault")
        for answer, count in sorted(load.refused(may_be_busy=False).items()):
            print(f"{count} x {answer}")
        trials.append(trial)
    trials[0].violations += unserved(cluster, callers.clients[0])
    if not counts_are_shared(cluster):
        trials[0].violations.append("rate limits are not shared again")
    for message, count in (cluster.logged() - logged).most_common(LOGGED_MAX):
        print(f"{count} x {message}")
    return trials


def check_acknowledged(cluster: Cluster, acknowledged: Sequence[Client]) -> tuple[int, int]:
    """Return how many acknowledged clients are missing, and for how many that is unknown after 30 seconds."""
    caller, deadline = Caller(cluster.nginx_address), time.monotonic() + ASK_SECONDS
    missing = 0
    left = list(acknowledged)
    while left and time.monotonic() < deadline:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            status = caller.request("/connect/token", token_form(left[-1])).status
            missing += status == 401
            if status in (200, 401):
                left.pop()
    caller.close()
    return missing, len(left)


def unserved(cluster: Cluster, client: Client) -> list[str]:
    """Return descriptions of hosts of which a process does not issue tokens."""
    found = []
    for host in cluster.hosts:
        statuses = [request_directly(host, token_form(client)) for _ in range(DIRECT_REQUESTS)]
        if set(statuses) != {200}:
            found.append(f"{host} answers {statuses} after the recovery")
    return found


def counts_are_shared(cluster: Cluster) -> bool:
    """Return whether failures on one host count on the other within 15 seconds."""

    def one() -> bool:
        form = token_form(Client(f"guess-{uuid.uuid4().hex}", "wrong secret"))
        statuses = [request_directly(cluster.hosts[at % 2], form) for at in range(FAILURES_PER_CLIENT_AND_ADDRESS + 2)]
        return statuses == [401] * FAILURES_PER_CLIENT_AND_ADDRESS + [429] * 2

    try:
        wait_for(one, SHARED_SECONDS, "shared counts")
    except TimeoutError:
        return False
    return True


def request_directly(host: Host, form: dict[str, str]) -> int:
    """Request a token from one host as the proxy would, on a new connection; return the status, 0 for none."""
    headers = {
        "Host": NAME,
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "198.51.100.7",
        "Connection": "close",
    }
    try:
        url, body = f"{host.url}/connect/token", urlencode(form)
        return urllib3.request("POST", url, body=body, headers=headers, retries=False, timeout=SLOW_SECONDS).status
    except urllib3.exceptions.HTTPError:
        return 0


@dataclass
class Results:
    """The table for `docs/operations.md`, which each run of `make test-cluster` writes."""

    trials: dict[str, list[Trial]] = field(default_factory=dict)

    def add(self, fault: str, trial: Trial) -> None:
        """Add a trial to the row of its fault."""
        self.trials.setdefault(fault, []).append(trial)

    def created(self) -> list[Client]:
        """Return all clients whose creation was acknowledged in these trials."""
        return [client for trials in self.trials.values() for trial in trials for client in trial.load.created]

    def write(self, path: Path, heading: str) -> None:
        """Write the table as Markdown."""
        path.parent.mkdir(exist_ok=True)
        lines = [
            heading,
            "",
            "| fault | trials | acknowledged | lost | longest without a token, a new client | tokens again after | "
            "slowest answer | answers meanwhile |",
            "|---|---|---|---|---|---|---|---|",
            *(row(fault, trials) for fault, trials in self.trials.items()),
        ]
        path.write_text("\n".join(lines) + "\n", "utf-8")


def row(fault: str, trials: Sequence[Trial]) -> str:
    """Return the row of one fault as Markdown."""
    loads = [trial.load for trial in trials]
    answers: Counter[int] = sum((load.statuses() for load in loads), Counter())
    wrong = sum(load.refused().total() for load in loads)
    shown = ", ".join(f"{count:,} x {status or 'none'}" for status, count in sorted(answers.items()))
    cells = [
        fault,
        len(trials),
        f"{sum(len(load.successes('token')) for load in loads):,} tokens, "
        f"{sum(len(load.created) for load in loads):,} clients",
        sum(trial.lost for trial in trials),
        ", ".join(f"{max(load.longest_outage(kind) for load in loads):.1f} s" for kind in ("token", "create")),
        f"{max(trial.again_after for trial in trials):.1f} s",
        f"{max(load.slowest() for load in loads):.1f} s",
        f"{shown} ({wrong} of them wrong)" if wrong else shown,
    ]
    return f"| {' | '.join(map(str, cells))} |"
