"""Measure the effect of a flood of wrong secrets on clients, people, health checks and memory (D2, D7).

    python -m benchmarks.flood                  20 s for each case, at 200 connections

The stand-alone application is served by two processes; the result is printed as a table.
"""

import http.client
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psutil

from tests.support import servers
from tests.support.factories import PEPPER_SETTING, make_client
from webapp.core.database.engine import make_engine
from webapp.core.secrets.generation import generate_secret

CONNECTIONS = 200
SECONDS = 20
WARM_UP_SECONDS = 1
PROBE_EVERY_SECONDS = 0.1
TOKEN_EVERY_SECONDS = 0.02
TOKEN_CONNECTIONS = 2
CLIENTS = 200
PAGES = ("/healthz", "/login")
TYPED, GENERATED = "typed", "generated"
Credentials = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """The effects of a flood.

    :param statuses: the number of answers to wrong secrets by status.
    :param slowest_seconds: the slowest answer of each page that was opened meanwhile.
    :param token_seconds: the duration of each token request with a right generated secret, sorted.
    :param grown_bytes: by how much each server process grew at most (PSS), after requests that compute no argon2id.
    """

    statuses: Counter[int]
    slowest_seconds: dict[str, float]
    token_seconds: list[float]
    grown_bytes: list[int]

    @property
    def token_p99_seconds(self) -> float:
        """The 99th percentile of the token requests."""
        return self.token_seconds[int(len(self.token_seconds) * 0.99)]


def attack(url: str, seconds: float, connections: int, *, addresses: bool, secrets: str) -> Counter[int]:
    """Send wrong secrets over kept-alive connections; return the number of answers by status.

    :param addresses: name another address with each request, as a trusted proxy would.
    :param secrets: TYPED or GENERATED, the form of the wrong secrets.
    """
    statuses: Counter[int] = Counter()
    ends_at = time.monotonic() + seconds
    # Generated once, since the checksum costs the attacker's process what it needs for sending.
    wrong = [generate_secret("vcs_").reveal() if secrets == GENERATED else f"a-wrong-secret-{n}" for n in range(100)]

    def send(number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        for sent in itertools.count():
            if time.monotonic() >= ends_at:
                break
            headers = {"X-Forwarded-For": f"10.{number}.{sent >> 8 & 255}.{sent & 255}"} if addresses else {}
            statuses[post_token(connection, (f"northwind-{number}-{sent}", wrong[sent % len(wrong)]), headers)] += 1
        connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def flood(
    url: str,
    seconds: float,
    connections: int = CONNECTIONS,
    *,
    clients: Sequence[Credentials],
    addresses: bool = False,
    secrets: str = TYPED,
) -> Report:
    """Let another process attack a server, and ask for tokens and open pages meanwhile.

    :param clients: clients of the server with generated secrets, each of which asks in turn.
    """
    # The threads and database connections that this many requests take exist before the memory is called idle.
    attack(url, WARM_UP_SECONDS, connections, addresses=True, secrets=GENERATED)
    for page in PAGES:
        open_page(url, page)
    processes = server_processes(url)
    idle = [memory_bytes(process) for process in processes]
    peak = list(idle)
    slowest = dict.fromkeys(PAGES, 0.0)
    arguments = [url, str(seconds), str(connections), "addresses" if addresses else "one", secrets]
    command = [sys.executable, "-m", "benchmarks.flood", *arguments]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, cwd=servers.ROOT) as attacker,
        requesting_tokens(url, clients) as token_seconds,
    ):
        while attacker.poll() is None:
            for page in PAGES:
                slowest[page] = max(slowest[page], open_page(url, page))
            peak = [max(before, memory_bytes(process)) for before, process in zip(peak, processes, strict=True)]
            time.sleep(PROBE_EVERY_SECONDS)
        assert attacker.stdout
        statuses = Counter({int(status): count for status, count in json.load(attacker.stdout).items()})
    growth = [high - low for high, low in zip(peak, idle, strict=True)]
    return Report(statuses, slowest, sorted(token_seconds), growth)


@contextmanager
def requesting_tokens(url: str, clients: Sequence[Credentials]) -> Iterator[list[float]]:
    """Request tokens over a few connections, with another client each time, and collect the durations."""
    seconds: list[float] = []
    failed: list[int] = []
    end = threading.Event()
    turns = itertools.cycle(clients)

    def ask() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        while not end.wait(TOKEN_EVERY_SECONDS):
            began = time.monotonic()
            status = post_token(connection, next(turns), {"X-Forwarded-For": "192.0.2.7"})
            seconds.append(time.monotonic() - began)
            if status != 200:
                failed.append(status)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(TOKEN_CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        yield seconds
    finally:
        end.set()
        for thread in threads:
            thread.join()
    if failed:
        raise RuntimeError(f"right secrets were answered {Counter(failed)}")


def post_token(connection: http.client.HTTPConnection, client: Credentials, headers: dict[str, str]) -> int:
    """Request a token; return the status."""
    client_id, client_secret = client
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    content_type = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/connect/token", urlencode(form), content_type | headers)
    response = connection.getresponse()
    response.read()
    return response.status


def open_page(url: str, page: str) -> float:
    """Open a page over a new connection; return the duration in seconds."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", page)
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{page} answered {response.status}")
    return time.monotonic() - began


def make_clients(database_url: str, count: int = CLIENTS) -> list[Credentials]:
    """Create clients with generated secrets in a server's database, whose pepper is `PEPPER_SETTING`."""
    engine = make_engine(database_url)
    made = []
    for _ in range(count):
        secret = generate_secret("vcs_").reveal()
        made.append((make_client(engine, account_id="flooded", secret=secret).client_id, secret))
    engine.dispose()
    return made


def server_processes(url: str) -> list[psutil.Process]:
    """Return the processes that serve this address: the children of the process that was given its port."""
    port, found = str(urlsplit(url).port), {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PORT") == port:
                found[process.pid] = process
    return [process for process in found.values() if process.ppid() in found]


def memory_bytes(process: psutil.Process) -> int:
    """Return a process's proportional set size: its own memory and its part of shared memory."""
    return int(process.memory_full_info().pss)


def main() -> None:
    """Flood a server in each case, and print a table."""
    print(f"{SECONDS} s of wrong secrets at {CONNECTIONS} connections, 2 processes")
    print("secrets    from            answers per s  401/429/503         token p50/p99  /healthz  /login  growth")
    for secrets, addresses in itertools.product((TYPED, GENERATED), (False, True)):
        settings = {"IDENTITY_CLIENTS_PEPPER": PEPPER_SETTING, "IDENTITY_CLIENTS_TRUSTED_PROXIES": "1"}
        with (
            tempfile.TemporaryDirectory() as directory,
            servers.serve(Path(directory), WEB_CONCURRENCY="2", **settings) as server,
        ):
            clients = make_clients(server.database_url)
            report = flood(server.url, SECONDS, clients=clients, addresses=addresses, secrets=secrets)
        counts = "/".join(str(report.statuses[status]) for status in (401, 429, 503))
        median = report.token_seconds[len(report.token_seconds) // 2]
        tokens = f"{median * 1000:.1f}/{report.token_p99_seconds * 1000:.1f} ms"
        pages = [f"{report.slowest_seconds[page] * 1000:.0f} ms" for page in PAGES]
        grown = ", ".join(f"{grown / 2**20:.0f} MiB" for grown in report.grown_bytes)
        rate = report.statuses.total() / SECONDS
        where = "many addresses" if addresses else "one address"
        print(f"{secrets:9}  {where:14} {rate:13.0f}   {counts:18}  {tokens:13}  {pages[0]:8}  {pages[1]:6}  {grown}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        url, seconds, connections, addresses, secrets = sys.argv[1:]
        counted = attack(url, float(seconds), int(connections), addresses=addresses == "addresses", secrets=secrets)
        print(json.dumps(counted))
