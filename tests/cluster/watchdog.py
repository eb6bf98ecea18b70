"""Kill the processes of a cluster once the tests have ended, however they ended; a program of its own.

It reads process IDs from standard input, one a line, where a negative one takes the same one back. When that is closed,
as it is also where the tests are killed, it kills the sessions that these processes lead and all their descendants, and
deletes the directory that it was given.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

AGAIN_SECONDS = 0.05


class Watchdog:
    """The program, from the side of the tests; nothing is left running or on disk after `close`."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, __file__, str(directory)]
        # In its own session, so that Ctrl-C does not reach it.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def add(self, pid: int) -> None:
        """Let it kill the session that this process leads."""
        self._write(pid)

    def remove(self, pid: int) -> None:
        """Take `add` back for a process that has ended: another one may get its process ID."""
        self._write(-pid)

    def close(self) -> None:
        """Kill all, and wait until it is done."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _write(self, number: int) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()


def kill(directory: Path, sessions: Collection[int]) -> None:
    """Kill the processes of these sessions, the postmasters with data in this directory, and all descendants."""
    while found := _find(directory, sessions):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(AGAIN_SECONDS)


def _find(directory: Path, sessions: Collection[int]) -> set[int]:
    parents, found = {}, set()
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, _group, session = (each / "stat").read_text().rpartition(")")[2].split()[:4]
            if state in "ZX":  # it has ended, and its parent need not have noticed
                continue
            pid = int(each.name)
            parents[pid] = int(parent)
            # Patroni starts each postmaster in a session of its own.
            program, _, arguments = (each / "cmdline").read_text(errors="replace").partition("\0")
            is_postmaster = program.endswith("/postgres") and f"{directory}/" in arguments
            if int(session) in sessions or is_postmaster:
                found.add(pid)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def main() -> None:
    """Wait for the end of standard input, and kill."""
    directory = Path(sys.argv[1])
    sessions: set[int] = set()
    for line in sys.stdin:
        number = int(line)
        if number > 0:
            sessions.add(number)
        else:
            sessions.discard(-number)
    kill(directory, sessions)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
