"""`python -m webapp.standalone`: brings the database up to date and serves; in development, with demo data."""

import gc
import os
import signal
import socket
import sys
from secrets import token_urlsafe

from flask import Flask
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server
from sqlalchemy.exc import OperationalError

from ..core.errors import FieldError, Unavailable
from ..host import EXTENSION, Services
from ..settings import SettingsError
from . import create_app, demo, logs, settings
from .cli import upgrade_all

DEMO_PASSWORD = "DEMO_PASSWORD"  # noqa: S105 - the variable's name
# The server's limits (D1). A request line of 8 KiB and headers of 16 KiB share one buffer.
HEAD_LIMIT_BYTES = (8 + 16) * 1024
HEADERS_WITHIN_MILLISECONDS = 30_000
STOP_WITHIN_SECONDS = 30
# A request that waits for a place to hash holds a thread (D7), so there are more than a flood has connections: with two
# it keeps monitors out for ten seconds, with these for a tenth of one. That costs 4 % more CPU a token, and 4 MiB.
THREADS = 64
SWITCH_SECONDS = 0.0005


def main() -> None:
    """Serve until told to stop."""
    os.umask(0o077)
    logs.configure()
    try:
        app = create_app()
        host, port = settings.address(os.environ)
        _refuse_taken_address(host, port)
        upgrade_all(app)
        services: Services = app.extensions[EXTENSION]
        if services.settings.development:
            print(_welcome(services, host, port), flush=True)
    except (SettingsError, FieldError) as error:
        sys.exit(f"Identity Clients does not start. {error}")
    except (Unavailable, OperationalError):
        sys.exit(f"Identity Clients does not start. {settings.DATABASE_SILENT}")
    services.engine.dispose()
    # What is there now stays. The collector need not look through it again, which takes up to a tenth of a second, and
    # where it does not write, the processes share memory.
    gc.collect()
    gc.freeze()
    _serve(app, services, host, port)


def _refuse_taken_address(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise SettingsError(
            f"Nothing can listen on {host}:{port} ({error.strerror}). Set another PORT or HOST."
        ) from error


def _welcome(services: Services, host: str, port: int) -> str:
    """Load demo data where there is nobody yet; return what a person needs to begin."""
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


def _serve(app: Flask, services: Services, host: str, port: int) -> None:
    Server(
        "wsgi:app",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        websockets=False,
        workers=app.config["PROCESSES"],
        blocking_threads=THREADS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_WITHIN_MILLISECONDS, max_buffer_size=HEAD_LIMIT_BYTES),
        log_dictconfig=logs.log_configuration(),
        log_level=LogLevels.warning if services.settings.development else LogLevels.info,
        workers_kill_timeout=STOP_WITHIN_SECONDS,
    ).serve(target_loader=_load_in_worker, wrap_loader=False)


def _load_in_worker() -> Flask:
    # Ctrl-C reaches every process of the terminal, and the server then tells its workers to stop as well.
    # Two signals at once can leave a worker waiting for ever, so it takes only the second.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # While the recorder writes, a request waits this long each time that it takes the interpreter back from it.
    sys.setswitchinterval(SWITCH_SECONDS)
    from wsgi import app

    gc.freeze()
    return app


if __name__ == "__main__":
    main()
