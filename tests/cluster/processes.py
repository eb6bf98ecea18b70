"""Processes that can be killed, paused and restarted, and their network."""

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from .watchdog import Watchdog

STOP_SECONDS = 30
PROBE_SECONDS = 0.05
_CLONE_NEWNET = 0x40000000


def wait_for(probe: Callable[[], bool], seconds: float, what: str) -> float:
    """Call `probe` until it returns true; return the seconds it took.

    :raises TimeoutError: it did not within this many seconds; `what` names it.
    """
    began = time.monotonic()
    while not probe():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(PROBE_SECONDS)
    return time.monotonic() - began


class Process:
    """A program of the cluster.

    :param watchdog: ends it with the tests.
    :param directory: made if it is missing; the program's working directory, with its log.
    :param namespace: the start of a command that runs the rest in a network namespace, as `Network.enter` returns it.
    :param privileged: run as the user who runs the tests; otherwise as `nobody` if that is root.
    :param descriptors: files that it inherits.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        watchdog: Watchdog,
        *,
        environment: Mapping[str, str] | None = None,
        working_directory: Path | None = None,
        namespace: Sequence[str] = (),
        privileged: bool = False,
        descriptors: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.directory = directory
        self.log = directory / f"{name}.log"
        self.environment = dict(environment or {})
        self._working_directory = working_directory or directory
        self._watchdog = watchdog
        self._descriptors = tuple(descriptors)
        self._user = None if privileged or os.getuid() != 0 else pwd.getpwnam("nobody")
        self._process: subprocess.Popen[bytes] | None = None
        self.command = [str(part) for part in command]
        if namespace and self._user:
            # Only root may enter a namespace, so `nsenter` changes the user afterwards.
            user = [f"--setuid={self._user.pw_uid}", f"--setgid={self._user.pw_gid}"]
            self.command = [*namespace, *user, *self.command]
        self._starts_as = None if namespace else self._user
        make_directory(directory, self._user)

    def __repr__(self) -> str:
        return self.name

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process ID of the last start."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start it without waiting until it is ready."""
        assert not self.is_running, self.name
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self._working_directory,
                env={
                    "PATH": f"{os.environ['PATH']}:/usr/sbin",
                    "LC_ALL": "C.UTF-8",
                    "HOME": str(self.directory),
                    "TMPDIR": str(self.directory),
                    **self.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._descriptors,
                user=self._starts_as.pw_uid if self._starts_as else None,
                group=self._starts_as.pw_gid if self._starts_as else None,
                extra_groups=[] if self._starts_as else None,
            )
        self._watchdog.add(self.pid)

    def stop(self) -> None:
        """Send SIGTERM and wait; kill it after 30 seconds."""
        if self.is_running:
            assert self._process
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
                self._watchdog.remove(self.pid)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill it and all its children (SIGKILL)."""
        self._signal(signal.SIGKILL)
        self.wait()
        self._watchdog.remove(self.pid)

    def wait(self) -> None:
        """Wait until it has ended, if it was ever started."""
        if self._process:
            self._process.wait()

    def pause(self) -> None:
        """Stop it and all its children (SIGSTOP): connections stay open but get no response."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue it (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def roots(self) -> list[int]:
        """Return the process IDs from which all its processes descend."""
        return [self.pid] if self.is_running else []

    def _signal(self, number: signal.Signals) -> None:
        for root in self.roots():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(root)
                for each in (process, *process.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        each.send_signal(number)


def make_directory(path: Path, owner: pwd.struct_passwd | None) -> None:
    """Create a directory that only its owner can read, unless it exists."""
    if not path.exists():
        path.mkdir(mode=0o700)
        if owner:
            os.chown(path, owner.pw_uid, owner.pw_gid)


class Network:
    """The addresses of the cluster, until `close`.

    As root it is a separate network with a bridge, invisible to the rest of the machine; each isolated address is
    in its own network namespace and can be disconnected. Otherwise it is a range of the loopback network.

    :param isolated: the last numbers of the addresses that can be disconnected.
    """

    def __init__(self, isolated: Sequence[int], watchdog: Watchdog) -> None:
        self._holders: dict[int, subprocess.Popen[bytes]] = {}
        self._before: int | None = None
        self._watchdog = watchdog
        self.prefix = "10.77.0."
        self.can_disconnect = os.getuid() == 0 and self._make(isolated)
        if not self.can_disconnect:
            # Runs of several users of one machine must not share addresses.
            self.prefix = f"127.{64 + os.getpid() % 128}.0."

    def address(self, number: int) -> str:
        """Return the address with this last number."""
        return f"{self.prefix}{number}"

    def enter(self, number: int) -> list[str]:
        """Return the start of a command that runs the rest at this address; empty for this namespace."""
        holder = self._holders.get(number)
        return ["nsenter", f"--net=/proc/{holder.pid}/ns/net"] if holder else []

    def disconnect(self, number: int) -> None:
        """Drop every packet to and from this isolated address."""
        _ip("link", "set", f"pg{number}", "down")

    def reconnect(self, number: int) -> None:
        """Undo `disconnect`."""
        _ip("link", "set", f"pg{number}", "up")

    def close(self) -> None:
        """Remove the network, and return this process to the former one."""
        for holder in self._holders.values():
            holder.kill()
            holder.wait()
        self._holders.clear()
        if self._before is not None:
            _libc().setns(self._before, _CLONE_NEWNET)
            os.close(self._before)
            self._before = None

    def _make(self, isolated: Sequence[int]) -> bool:
        """Make the separate network; return whether root may do that here."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if _libc().unshare(_CLONE_NEWNET) != 0:
            os.close(before)
            return False
        self._before = before
        try:
            self._make_bridge(isolated)
        except (OSError, subprocess.CalledProcessError, TimeoutError):
            self.close()
            return False
        return True

    def _make_bridge(self, isolated: Sequence[int]) -> None:
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "cluster", "type", "bridge")
        _ip("link", "set", "cluster", "up")
        addresses = [f"{self.prefix}{number}" for number in range(1, 100) if number not in isolated]
        _ip("-batch", "-", lines=[f"address add {address}/24 dev cluster" for address in addresses])
        for number in isolated:
            self._holders[number] = holder = subprocess.Popen(
                ["unshare", "--net", "sleep", "infinity"], start_new_session=True
            )
            self._watchdog.add(holder.pid)
            ours = os.stat("/proc/thread-self/ns/net").st_ino
            wait_for(lambda: os.stat(f"/proc/{holder.pid}/ns/net").st_ino != ours, 5, "a network namespace")  # noqa: B023
            inside = self.enter(number)
            _ip("link", "add", f"pg{number}", "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
            _ip("link", "set", f"pg{number}", "master", "cluster", "up")
            _ip("address", "add", f"{self.prefix}{number}/24", "dev", "eth0", inside=inside)
            _ip("link", "set", "lo", "up", inside=inside)
            _ip("link", "set", "eth0", "up", inside=inside)


def _ip(*arguments: str, inside: Sequence[str] = (), lines: Sequence[str] = ()) -> None:
    subprocess.run([*inside, "ip", *arguments], check=True, text=True, input="".join(f"{x}\n" for x in lines))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
