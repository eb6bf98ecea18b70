"""A flood of wrong secrets against a live server: what it does to people, monitors and memory (D2, D7).

    python -m benchmarks.flood                  20 s at 50 connections, from one address and from many

It serves the stand-alone application itself, with two processes, and prints a table.
"""

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psutil

from tests.support import servers

CONNECTIONS = 50
SECONDS = 20
PROBE_EVERY_SECONDS = 0.1
LOOKED_AT = ("/healthz", "/login")


@dataclass(frozen=True, slots=True)
class Report:
    """What a flood did.

    :param statuses: how many answers had which status.
    :param slowest_seconds: the slowest answer at each of the pages that were looked at meanwhile.
    :param grown_bytes: by how much each server process grew at most (PSS).
    """

    statuses: Counter[int]
    slowest_seconds: dict[str, float]
    grown_bytes: list[int]


def attack(url: str, seconds: float, connections: int, *, addresses: bool) -> Counter[int]:
    """Send wrong secrets over kept-alive connections; return the statuses.

    :param addresses: name another address with each request, as a trusted proxy would.
    """
    statuses: Counter[int] = Counter()
    ends_at = time.monotonic() + seconds

    def send(number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        sent = 0
        while time.monotonic() < ends_at:
            sent += 1
            form = {
                "grant_type": "client_credentials",
                "client_id": f"northwind-{number}-{sent}",
                "client_secret": f"a-wrong-secret-{sent}",
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            if addresses:
                headers["X-Forwarded-For"] = f"10.{number}.{sent >> 8 & 255}.{sent & 255}"
            connection.request("POST", "/connect/token", urlencode(form), headers)
            response = connection.getresponse()
            response.read()
            statuses[response.status] += 1
        connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def flood(url: str, seconds: float, connections: int = CONNECTIONS, *, addresses: bool = False) -> Report:
    """Let another process attack a server, and look at it meanwhile as a monitor and a person do."""
    for _ in range(8):  # so that each process has answered before its memory is called idle
        for path in LOOKED_AT:
            look(url, path)
    processes = server_processes(url)
    idle = [memory_bytes(process) for process in processes]
    peak = list(idle)
    slowest = dict.fromkeys(LOOKED_AT, 0.0)
    arguments = [url, str(seconds), str(connections), "addresses" if addresses else "one"]
    command = [sys.executable, "-m", "benchmarks.flood", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=servers.ROOT) as attacker:
        while attacker.poll() is None:
            for path in LOOKED_AT:
                slowest[path] = max(slowest[path], look(url, path))
            peak = [max(before, memory_bytes(process)) for before, process in zip(peak, processes, strict=True)]
            time.sleep(PROBE_EVERY_SECONDS)
        assert attacker.stdout
        statuses = Counter({int(status): count for status, count in json.load(attacker.stdout).items()})
    return Report(statuses, slowest, [high - low for high, low in zip(peak, idle, strict=True)])


def look(url: str, path: str) -> float:
    """Open a page over a connection of its own; return how long it took."""
    began = time.monotonic()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", path)
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path} answered {response.status}")
    return time.monotonic() - began


def server_processes(url: str) -> list[psutil.Process]:
    """Return the processes that serve this address: the children of the one that was told its port."""
    port, told = str(urlsplit(url).port), {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PORT") == port:
                told[process.pid] = process
    return [process for process in told.values() if process.ppid() in told]


def memory_bytes(process: psutil.Process) -> int:
    """Return a process's proportional set size: its own memory, and its share of what it shares."""
    return int(process.memory_full_info().pss)


def main() -> None:
    """Flood a server of our own, and print what came of it."""
    print(f"{SECONDS} s of wrong secrets at {CONNECTIONS} connections, 2 processes")
    print("from           answers per s  of them 401/429/503   slowest /healthz  slowest /login   growth per process")
    for addresses in (False, True):
        with (
            tempfile.TemporaryDirectory() as directory,
            servers.serve(Path(directory), WEB_CONCURRENCY="2", IDENTITY_CLIENTS_TRUSTED_PROXIES="1") as server,
        ):
            report = flood(server.url, SECONDS, addresses=addresses)
        counts = "/".join(str(report.statuses[status]) for status in (401, 429, 503))
        slowest = [f"{report.slowest_seconds[path] * 1000:.0f} ms" for path in LOOKED_AT]
        grown = ", ".join(f"{grown / 2**20:.0f} MiB" for grown in report.grown_bytes)
        rate = report.statuses.total() / SECONDS
        where = "many addresses" if addresses else "one address"
        print(f"{where:14} {rate:13.0f}  {counts:20}  {slowest[0]:16}  {slowest[1]:15}  {grown}")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        url, seconds, connections, addresses = sys.argv[1:]
        print(json.dumps(attack(url, float(seconds), int(connections), addresses=addresses == "addresses")))
