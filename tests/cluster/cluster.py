"""The cluster: every component from the files of `docs/deploy`, with other addresses, ports and paths."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import psycopg
import redis
import urllib3

from tests.support import servers

from .processes import Network, Process, wait_for
from .watchdog import Watchdog

DEPLOY = servers.ROOT / "docs" / "deploy"
NAME = "id.example.com"
# Last numbers of the addresses, as in `docs/deploy`.
ETCD, POSTGRESQL, REDIS, SENTINEL, HOSTS = (11, 12, 13), (21, 22, 23), (51, 52, 53), (61, 62, 63), (71, 72)
HAPROXY, PGBOUNCER, NGINX, CADDY = 31, 41, 81, 82
# Only root may listen on 80 and 443.
HTTP_PORT, HTTPS_PORT = 8080, 8443
START_SECONDS = 120
PATH = f"{os.environ['PATH']}:/usr/sbin"
# As systemd does: the socket is descriptor 3, and the variables name the process itself.
WITH_SOCKET = 'exec 3<&"$1"; shift; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
ACCOUNT, EMAIL, PASSWORD = "Northwind", "ann@northwind.example", "correct horse battery staple"


class PostgreSQL(Process):
    """A node: Patroni, and the PostgreSQL that it runs, which keeps running when Patroni is killed."""

    def __init__(self, cluster: "Cluster", index: int) -> None:
        self.number = POSTGRESQL[index]
        self.address = cluster.network.address(self.number)
        name = f"pg{index + 1}"
        super().__init__(
            name,
            ["patroni", "patroni.yml"],
            cluster.directory / name,
            cluster.watchdog,
            namespace=cluster.network.enter(self.number),
        )
        text = cluster.file("patroni.yml", self.directory, member=("pg", POSTGRESQL, index))
        text = text.replace("/usr/lib/postgresql/15/bin", str(servers.postgresql_programs()))
        text = text.replace("/var/lib/postgresql/15/identity-clients", str(self.directory / "data"))
        text = text.replace("/var/run/postgresql", str(self.directory))
        cluster.write(self.directory / "patroni.yml", text)

    def roots(self) -> list[int]:
        """Return Patroni and the postmaster, which is not its child."""
        return [*super().roots(), *self.postmaster()]

    def postmaster(self) -> list[int]:
        """Return the process ID of the postmaster, if there is one."""
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
            # After a kill the file stays, and its number may belong to another process.
            if str(self.directory) in Path(f"/proc/{pid}/cmdline").read_text():
                return [pid]
        return []

    def kill_postmaster(self) -> None:
        """Kill PostgreSQL only."""
        for pid in self.postmaster():
            os.kill(pid, signal.SIGKILL)

    def is_primary(self) -> bool:
        """Return whether Patroni reports the node as primary."""
        return get_body(f"http://{self.address}:8008/primary") is not None

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement, run as the superuser."""
        with psycopg.connect(
            host=self.address,
            user="postgres",
            password="SUPERUSER-PASSWORD",
            dbname="postgres",
            connect_timeout=3,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class Host(Process):
    """One application host, in production mode, whose listening socket stays open while the process is replaced.

    :param listener: the socket of the host that this one replaces.
    """

    def __init__(
        self,
        cluster: "Cluster",
        index: int,
        *,
        tree: Path = servers.ROOT,
        listener: socket.socket | None = None,
    ) -> None:
        self.address = cluster.network.address(HOSTS[index])
        self.url = f"http://{self.address}:5000"
        self.listener = listener or socket.create_server((self.address, 5000), backlog=1024)
        self._settings = cluster.settings
        name, descriptor = f"host{index + 1}", self.listener.fileno()
        super().__init__(
            name,
            ["bash", "-c", WITH_SOCKET, "host", str(descriptor), sys.executable, "-m", "webapp.standalone"],
            cluster.directory / name,
            cluster.watchdog,
            working_directory=tree,
            privileged=True,
            descriptors=[descriptor],
        )

    def start(self) -> None:
        """Start it with the settings as they are now."""
        self.environment = self._settings | {"HOST": self.address}
        super().start()

    def restart(self) -> None:
        """Stop and start it, and wait until `/readyz` succeeds, as an operator does."""
        self.stop()
        self.start()
        wait_for(self.is_ready, START_SECONDS, self.name)

    def is_ready(self) -> bool:
        """Return whether it is ready to serve."""
        return get_body(f"{self.url}/readyz", Host=NAME) is not None


@dataclass(frozen=True)
class ProxyAddress:
    """The address of a reverse proxy.

    :param ca: the certificate to trust.
    """

    address: str
    ca: Path


class Cluster:
    """All components. `start` creates the cluster, `restart_missing` restores it after a fault."""

    def __init__(self, directory: Path, network: Network, watchdog: Watchdog) -> None:
        self.directory = directory
        self.network = network
        self.watchdog = watchdog
        self.settings = self._read_settings()
        self.etcd = [self._member("etcd", ETCD, index, "etcd.yml", "--config-file") for index in range(3)]
        self.postgresql = [PostgreSQL(self, index) for index in range(3)]
        self.haproxy = self._single("haproxy", ["haproxy", "-db", "-f", "haproxy.cfg"], "haproxy.cfg")
        self.pgbouncer = self._single("pgbouncer", ["pgbouncer", "pgbouncer.ini"], "pgbouncer.ini", "userlist.txt")
        self.redis = [self._member("redis", REDIS, index, "redis.conf") for index in range(3)]
        self.sentinels = [self._member("sentinel", SENTINEL, index, "sentinel.conf") for index in range(3)]
        self.nginx, self.nginx_address = self._nginx()
        self.caddy, self.caddy_address = self._caddy()
        self.hosts = [Host(self, index) for index in range(2)]

    @property
    def engines(self) -> list[Process]:
        """All components other than the application."""
        return [
            *self.postgresql, *self.etcd, self.haproxy, self.pgbouncer, *self.redis, *self.sentinels,
            self.nginx, self.caddy,
        ]  # fmt: skip

    # Lifecycle

    def start(self) -> None:
        """Start everything, with an account and a person."""
        for process in self.engines:
            process.start()
        wait_for(lambda: self.primary() is not None, START_SECONDS, "a primary")
        primary = self.primary()
        assert primary
        primary.query("CREATE ROLE mas LOGIN PASSWORD 'DATABASE-PASSWORD'")
        primary.query("CREATE DATABASE mas OWNER mas")
        self.flask("mas upgrade")
        for host in self.hosts:
            host.start()
        self.add_account()
        self.wait_until_complete()

    def add_account(self, *, tree: Path = servers.ROOT) -> None:
        """Add an account, and a user who may create clients."""
        self.flask(f"mas account add {ACCOUNT}", tree=tree)
        self.flask(f"mas account feature on {ACCOUNT}", tree=tree)
        user = f'mas user add {EMAIL} --account {ACCOUNT} --name "Ann Lee" --role MerchantAdmin'
        self.flask(user, tree=tree, typed=f"{PASSWORD}\n{PASSWORD}\n")

    def flask(self, command: str, *, tree: Path = servers.ROOT, typed: str = "") -> str:
        """Run a command of `flask` with our settings as on an application host; return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", *shlex.split(command)],
            cwd=tree,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | self.settings,
            input=typed,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            start_new_session=True,  # without a terminal the password is read from standard input
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self) -> None:
        """Release what this process holds, once everything is killed."""
        for process in (*self.hosts, *self.engines):
            process.wait()
        for host in self.hosts:
            host.listener.close()

    def restart_missing(self) -> None:
        """Start, continue and connect again what a fault has ended, and wait until the hosts are ready."""
        for process in (*self.engines, *self.hosts):
            process.resume()
            if not process.is_running:
                process.start()
        if self.network.can_disconnect:
            for number in POSTGRESQL:
                self.network.reconnect(number)
        wait_for(lambda: all(host.is_ready() for host in self.hosts), START_SECONDS, "the hosts")

    def wait_until_complete(self) -> None:
        """Wait until nothing is missing."""
        self.wait_for_postgresql()
        self.wait_for_redis()
        wait_for(lambda: all(host.is_ready() for host in self.hosts), START_SECONDS, "the hosts")
        ended = [process for process in (*self.engines, *self.hosts) if not process.is_running]
        assert not ended, [f"{process} has ended, see {process.log}" for process in ended]

    def wait_for_postgresql(self) -> None:
        """Wait until PostgreSQL has both standbys; check that the application has connections to its primary only."""
        wait_for(self._postgresql_is_complete, START_SECONDS, "both standbys of PostgreSQL")
        stuck = {node: self.connections(node) for node in self.postgresql if not node.is_primary()}
        assert not any(stuck.values()), f"connections of the application to standbys: {stuck}"

    def wait_for_redis(self) -> None:
        """Wait until Redis has both replicas."""
        wait_for(lambda: self.redis_replicas() == 2, START_SECONDS, "both replicas of Redis")

    def _postgresql_is_complete(self) -> bool:
        members = self.members()
        return (
            sorted(member["role"] for member in members) == ["leader", "replica", "sync_standby"]
            and len({member.get("timeline") for member in members}) == 1
            and all(member["state"] in ("running", "streaming") for member in members)
        )

    # State

    def primary(self) -> PostgreSQL | None:
        """Return the primary node of PostgreSQL, or None."""
        return next((node for node in self.postgresql if node.is_primary()), None)

    def members(self) -> list[dict[str, Any]]:
        """Return the nodes as Patroni reports them."""
        for node in self.postgresql:
            if answer := get_body(f"http://{node.address}:8008/cluster"):
                members: list[dict[str, Any]] = json.loads(answer)["members"]
                return members
        return []

    def etcd_leader(self) -> Process:
        """Return the member that leads etcd."""
        for process, number in zip(self.etcd, ETCD, strict=True):
            url = f"http://{self.network.address(number)}:2379/v3/maintenance/status"
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                status = urllib3.request("POST", url, body=b"{}", timeout=1, retries=False).json()
                if status["leader"] == status["header"]["member_id"]:
                    return process
        raise LookupError("etcd has no leader")

    def redis_primary(self) -> Process:
        """Return the primary of Redis that the Sentinels name."""
        for number in SENTINEL:
            with contextlib.suppress(redis.RedisError), self._redis(self.network.address(number), 26379) as sentinel:
                found: Any = sentinel.sentinel_get_master_addr_by_name("identity-clients")
                return self.redis[[self.network.address(each) for each in REDIS].index(found[0])]
        raise LookupError("Redis has no primary")

    def redis_replicas(self) -> int:
        """Return the number of replicas of the primary of Redis."""
        with contextlib.suppress(redis.RedisError, LookupError):
            index = self.redis.index(self.redis_primary())
            with self._redis(self.network.address(REDIS[index]), 6379) as primary:
                information = primary.info("replication")
                return int(information["connected_slaves"]) if information["role"] == "master" else 0
        return 0

    def reset_rate_limits(self) -> None:
        """Reset every rate limit, so that no trial uses up that of the next."""
        with self._redis(self.network.address(REDIS[self.redis.index(self.redis_primary())]), 6379) as primary:
            primary.flushall()

    def connections(self, node: PostgreSQL) -> int:
        """Return the number of connections of the application to a node."""
        return int(node.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'mas'")[0][0])

    def logged(self) -> Counter[str]:
        """Return how often the hosts have logged each warning and error, with numbers removed."""
        lines = (line for host in self.hosts for line in host.log.read_text("utf-8").splitlines())
        entries = (json.loads(line) for line in lines if line.startswith("{"))
        return Counter(
            re.sub(r"\b(0x)?[0-9a-f]*\d[0-9a-f]*\b", "N", f"{entry['level']} {entry['logger']}: {entry['message']}")
            for entry in entries
            if entry["level"] != "info"
        )

    # Files

    def file(self, name: str, directory: Path, *, member: tuple[str, tuple[int, ...], int] | None = None) -> str:
        """Return a file of `docs/deploy` for this network.

        :param member: the common part of the members' names, their addresses, and the member that the file is for.
        """
        text = (DEPLOY / name).read_text("utf-8")
        if member:
            kind, numbers, index = member
            lines = text.splitlines(keepends=True)
            others = [f"192.0.2.{number}" for number in numbers[1:]]
            for at, line in enumerate(lines):
                if not any(other in line for other in others) and "monitor" not in line:
                    line = line.replace(f"192.0.2.{numbers[0]}", f"192.0.2.{numbers[index]}")
                    lines[at] = line.replace(f"name: {kind}1", f"name: {kind}{index + 1}")
            text = "".join(lines)
        text = text.replace("/var/lib/redis", ".").replace("/var/lib/etcd", "data")
        text = text.replace("/etc/pgbouncer/", "").replace("/var/log/nginx", ".")
        text = text.replace("/etc/ssl/", f"{self.directory}/nginx/")
        if not self.network.can_disconnect:
            # On the loopback network every connection comes from 127.0.0.1.
            text = text.replace("192.0.2.0/24", "127.0.0.0/8")
        return text.replace("192.0.2.", self.network.prefix)

    def write(self, path: Path, text: str) -> None:
        """Write a file that the owner of its directory may change, and others may not read."""
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)

    def _member(self, kind: str, numbers: tuple[int, ...], index: int, file: str, *options: str) -> Process:
        name = f"{kind}{index + 1}"
        program = {"etcd": "etcd", "redis": "redis-server", "sentinel": "redis-sentinel"}[kind]
        process = Process(name, [program, *options, file], self.directory / name, self.watchdog)
        text = self.file(file, process.directory, member=(kind, numbers, index))
        if kind == "redis" and index:
            text += f"replicaof {self.network.address(REDIS[0])} 6379\n"
        self.write(process.directory / file, text)
        return process

    def _single(self, name: str, command: list[str], *files: str) -> Process:
        process = Process(name, command, self.directory / name, self.watchdog)
        for file in files:
            self.write(process.directory / file, self.file(file, process.directory))
        return process

    def _nginx(self) -> tuple[Process, ProxyAddress]:
        process = self._single("nginx", ["nginx", "-c", str(self.directory / "nginx" / "main.conf"), "-p", "."])
        text = self.file("nginx.conf", process.directory)
        text = text.replace(":80;", f":{HTTP_PORT};").replace(":443 ssl;", f":{HTTPS_PORT} ssl;")
        self.write(process.directory / "nginx.conf", text)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {kind};" for kind in kinds)
        self.write(
            process.directory / "main.conf",
            f"daemon off; pid nginx.pid; error_log stderr; worker_processes 1;\n"
            f"events {{}}\nhttp {{ {places} include {process.directory}/nginx.conf; }}\n",
        )
        certificate, key = (self.directory / f"{NAME}.{suffix}" for suffix in ("pem", "key"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )  # fmt: skip
        for file in (certificate, key):
            self.write(process.directory / file.name, file.read_text())
        return process, ProxyAddress(self.network.address(NGINX), certificate)

    def _caddy(self) -> tuple[Process, ProxyAddress]:
        process = self._single("caddy", ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"])
        text = self.file("Caddyfile", process.directory)
        for scheme, port in (("http", HTTP_PORT), ("https", HTTPS_PORT)):
            text = text.replace(f"{scheme}://{NAME}", f"{scheme}://{NAME}:{port}")
        ours = f"admin off\nhttp_port {HTTP_PORT}\nhttps_port {HTTPS_PORT}\nlocal_certs\nskip_install_trust"
        text = text.replace("    servers {", f"{ours}\n    servers {{", 1)
        self.write(process.directory / "Caddyfile", text)
        ca = process.directory / ".local/share/caddy/pki/authorities/local/root.crt"
        return process, ProxyAddress(self.network.address(CADDY), ca)

    def _read_settings(self) -> dict[str, str]:
        text = self.file("identity-clients.env", self.directory)
        text = re.sub(r"\.\.\.$", lambda _: token_urlsafe(32), text, flags=re.MULTILINE)
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        settings = dict(line.split("=", 1) for line in lines)
        # All callers have one address here, which also sends every wrong secret.
        return settings | {
            "IDENTITY_CLIENTS_FAILURES_PER_ADDRESS": "1000000",
            "IDENTITY_CLIENTS_API_ENABLED": "true",
        }

    @contextlib.contextmanager
    def _redis(self, address: str, port: int) -> Iterator["redis.Redis"]:
        client = redis.Redis(
            address, port, password="REDIS-PASSWORD", decode_responses=True, socket_timeout=1, socket_connect_timeout=1
        )
        try:
            yield client
        finally:
            client.close()


def get_body(url: str, **headers: str) -> bytes | None:
    """Return the body of a 200 response; None for any other, and for none within a second."""
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        answer = urllib3.request("GET", url, headers=headers, timeout=1, retries=False)
        if answer.status == 200:
            return answer.data
    return None


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """Run a cluster within the block. Nothing is left of it, also where the tests are killed."""
    directory = Path(tempfile.mkdtemp(prefix="cluster-", dir="/tmp"))  # a socket's path must be short
    directory.chmod(0o711)
    watchdog = Watchdog(directory)
    try:
        network = Network(POSTGRESQL, watchdog)
        try:
            cluster = Cluster(directory, network, watchdog)
            cluster.start()
            yield cluster
        finally:
            network.close()
    finally:
        watchdog.close()
    cluster.close()
