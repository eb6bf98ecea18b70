"""`python -m webapp.standalone`: migrate the database, load demo data in development, and serve."""

import gc
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from secrets import token_urlsafe
from wsgiref.types import WSGIApplication

from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from sqlalchemy.exc import OperationalError

from ..core.errors import FieldError, Unavailable
from ..core.notifications.worker import NotificationWorker
from ..host import EXTENSION, Services
from ..settings import PREFIX, SettingsError
from . import create_app, demo, logs, settings
from .body_deadline import WAITING_THREADS, WORKING_THREADS
from .cli import upgrade_all
from .server import Draining, DrainingApplication, DrainingServer, inherited_listener

METRICS_DIRECTORY = f"{PREFIX}METRICS_DIRECTORY"
DEMO_PASSWORD = "DEMO_PASSWORD"  # noqa: S105 - the variable's name
# The limits of the server (D1). A request line of 8 KiB and headers of 16 KiB share one buffer.
HEAD_LIMIT_BYTES = (8 + 16) * 1024
HEADERS_WITHIN_MILLISECONDS = 30_000
STOP_WITHIN_SECONDS = 11
THREADS = WORKING_THREADS + WAITING_THREADS
SWITCH_SECONDS = 0.0005


def main() -> None:
    """Serve until a signal ends the process."""
    os.umask(0o077)
    logs.configure()
    try:
        app = create_app()
        host, port = settings.address(os.environ)
        listener = inherited_listener(os.environ)
        if listener is None:
            _refuse_taken_address(host, port)
        upgrade_all(app)
        services: Services = app.extensions[EXTENSION]
        if services.settings.development:
            print(_welcome(services, host, port), flush=True)
    except (SettingsError, FieldError) as error:
        sys.exit(f"Identity Clients does not start. {error}")
    except (Unavailable, OperationalError):
        sys.exit(f"Identity Clients does not start. {settings.DATABASE_UNAVAILABLE}")
    services.engine.dispose()
    # The objects that exist now live as long as the process. Frozen, they are not traversed by the garbage collector,
    # which takes up to 0.1 s, and the worker processes share their memory.
    gc.collect()
    gc.freeze()
    with _shared_metrics(app.config["PROCESSES"]):
        _serve(app, services, host, port, listener)


def _refuse_taken_address(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise SettingsError(
            f"Nothing can listen on {host}:{port} ({error.strerror}). Set another PORT or HOST."
        ) from error


def _welcome(services: Services, host: str, port: int) -> str:
    """Load the demo data if there are no users yet, and return the text that says how to sign in."""
    given = os.environ.get(DEMO_PASSWORD, "")
    if not demo.has_users(services.engine):
        password = given or token_urlsafe(12)
        demo.load(services, password)
        how = f"password {password}" if not given else f"the password in {DEMO_PASSWORD}"
        how += "" if given else f"  (shown this once; {DEMO_PASSWORD}=... make run sets another)"
    elif given and demo.set_password(services.engine, given):
        how = f"the password in {DEMO_PASSWORD}"
    else:
        how = f"the password of the first start  ({DEMO_PASSWORD}=... make run sets another)"
    lines = [
        "",
        f"  Identity Clients   {settings.own_url(host, port)}",
        f"  Sign in as         {demo.USERS[0].email}",
        f"  with               {how}",
        "",
        f"  Others: {', '.join(user.email for user in demo.USERS[1:])}",
        "  Stop with Ctrl-C.",
        "",
    ]
    if host not in settings.LOOPBACK:
        lines.insert(-1, "  Other machines can reach this development server: let only people in whom you trust.")
    return "\n".join(lines)


@contextmanager
def _shared_metrics(processes: int) -> Iterator[None]:
    """Let several processes add up their metrics in a temporary directory, unless a setting names one."""
    if processes == 1 or METRICS_DIRECTORY in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="identity-clients-metrics-") as directory:
        os.environ[METRICS_DIRECTORY] = directory
        yield


def _serve(app: Flask, services: Services, host: str, port: int, listener: socket.socket | None) -> None:
    draining = Draining()
    DrainingServer(
        "wsgi:app",
        draining=draining,
        drain_seconds=app.config["DRAIN_SECONDS"],
        listener=listener,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        websockets=False,
        workers=app.config["PROCESSES"],
        blocking_threads=THREADS,
        blocking_threads_idle_timeout=5,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_WITHIN_MILLISECONDS, max_buffer_size=HEAD_LIMIT_BYTES),
        log_dictconfig=logs.log_configuration(),
        log_level=LogLevels.warning if services.settings.development else LogLevels.info,
        workers_kill_timeout=STOP_WITHIN_SECONDS,
    ).serve(target_loader=partial(_load_in_worker, draining), wrap_loader=False)


def _load_in_worker(draining: Draining) -> WSGIApplication:
    # Ctrl-C reaches every process of the terminal, and the server also stops its workers. Two signals at once can hang
    # a worker, so it ignores the first.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # While the recorder writes, a request waits this long each time that it needs the interpreter.
    sys.setswitchinterval(SWITCH_SECONDS)
    from wsgi import app

    services: Services = app.extensions[EXTENSION]
    NotificationWorker(services.engine, services.delivery, services.keys, services.settings.issuer).start()
    gc.freeze()
    return DrainingApplication(app, draining)


if __name__ == "__main__":
    main()
