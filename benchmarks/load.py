"""Load on a token endpoint over keep-alive connections, and the resources that the server uses for it (Linux)."""

import asyncio
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

CONNECTIONS = 16
_IN_RANDOM_ORDER = """
local bodies = {}
for line in io.lines("%(bodies)s") do bodies[#bodies + 1] = line end
function request() return wrk.format(nil, nil, nil, bodies[math.random(#bodies)]) end
"""
_ONE_AFTER_THE_OTHER = """
local bodies = io.open("%(bodies)s")
for _ = 1, %(skip)d do bodies:read("*l") end
function request() return wrk.format(nil, nil, nil, bodies:read("*l")) end
"""
_WRK = """
wrk.method = "POST"
%(headers)s
%(requests)s
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('RESULT {"requests": %%d, "microseconds": %%d, "failed": %%d, "p50": %%f, "p99": %%f}\\n',
    summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


class Measured(NamedTuple):
    """The result of one run. Response times are in milliseconds."""

    per_second: float
    p50: float
    p99: float
    failed: int
    cpu_per_request: float
    requests: int


def run(
    port: int, server: int, bodies: list[str], headers: dict[str, str], seconds: float, skip: int | None = None
) -> Measured:
    """Send requests for this many seconds; return the measurements.

    :param server: the process ID of the server; its children count too.
    :param skip: send each body once after the first `skip` ones; None: in random order, repeatedly.
    """
    cpu = cpu_seconds(server)
    if shutil.which("wrk"):
        requests, took, p50, p99, failed = _wrk(port, bodies, headers, seconds, skip)
    else:
        requests, took, p50, p99, failed = asyncio.run(_asyncio(port, bodies, headers, seconds))
    time.sleep(1.2)  # include what the server does once a second for these requests
    cpu_per_request = (cpu_seconds(server) - cpu) / max(requests, 1) * 1000
    return Measured(requests / took, p50, p99, failed, cpu_per_request, requests)


def once_each(port: int, bodies: list[str], headers: dict[str, str]) -> float:
    """Send each body once; return the number of responses per second."""
    started = time.perf_counter()
    answers = asyncio.run(_ask_all(port, bodies, headers))
    assert answers == len(bodies), f"{len(bodies) - answers} of {len(bodies)} were refused"
    return len(bodies) / (time.perf_counter() - started)


def _wrk(
    port: int, bodies: list[str], headers: dict[str, str], seconds: float, skip: int | None
) -> tuple[int, float, float, float, int]:
    with tempfile.TemporaryDirectory() as directory:
        file, script = Path(directory, "bodies"), Path(directory, "load.lua")
        file.write_text("\n".join(bodies))
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        requests = _IN_RANDOM_ORDER if skip is None else _ONE_AFTER_THE_OTHER
        script.write_text(_WRK % {"headers": lines, "requests": requests % {"bodies": file, "skip": skip or 0}})
        url = f"http://127.0.0.1:{port}/connect/token"
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(script), url]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(output.rpartition("RESULT ")[2])
    return found["requests"], found["microseconds"] / 1e6, found["p50"], found["p99"], found["failed"]


async def _asyncio(
    port: int, bodies: list[str], headers: dict[str, str], seconds: float
) -> tuple[int, float, float, float, int]:
    """Send the load without wrk, which shares the processor with the server and costs far more of it."""
    ends, times, failed = time.perf_counter() + seconds, [], 0

    async def ask() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < ends:
            failed += not await _answered(reader, writer, random.choice(bodies), headers)
            times.append((time.perf_counter() - began) * 1000)
        writer.close()

    await asyncio.gather(*(ask() for _ in range(CONNECTIONS)))
    times.sort()
    return len(times), seconds, times[len(times) // 2], times[len(times) * 99 // 100], failed


async def _ask_all(port: int, bodies: list[str], headers: dict[str, str]) -> int:
    waiting = iter(bodies)

    async def ask() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answered = 0
        for body in waiting:
            answered += await _answered(reader, writer, body, headers)
        writer.close()
        return answered

    # As many as there are argon2id threads: further ones could exceed their time limit in the queue (D7).
    return sum(await asyncio.gather(*(ask() for _ in range(CONNECTIONS // 2))))


async def _answered(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: str, headers: dict[str, str]
) -> bool:
    lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": str(len(body))}.items()]
    writer.write("\r\n".join(["POST /connect/token HTTP/1.1", *lines, "", body]).encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    content = await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
    return " 200 " in head.partition("\r\n")[0] and b"access_token" in content


# The server's processes


def family(process: int) -> list[int]:
    """Return a process and all its descendants."""
    children: list[int] = []
    for task in Path(f"/proc/{process}/task").iterdir():
        children += map(int, (task / "children").read_text().split())
    return [process, *(each for child in children for each in family(child))]


def cpu_seconds(process: int) -> float:
    """Return the processor time that a server has used."""
    ticks = 0
    for each in family(process):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def mebibytes(process: int) -> float:
    """Return the proportional set size of the largest server process in MiB."""
    sizes = []
    for each in family(process):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().split("\n")
        sizes += [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
    return max(sizes) / 1024
