"""Receivers of notifications: an HTTP server and an SMTP server, which fail as the test specifies."""

import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

from tests.support.servers import free_port


@dataclass
class Webhooks:
    """The requests to an HTTP receiver, and its responses.

    :param answers: for each of the next requests a status, or a function of the handler; afterwards `status`.
    """

    url: str = ""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    status: int = 200
    port: int = 0
    delay_seconds: float = 0
    at_once: int = 0
    at_once_max: int = 0

    @property
    def bodies(self) -> list[bytes]:
        """The bodies in the order of their arrival."""
        return [body for _, body in self.requests]


@contextlib.contextmanager
def receive_webhooks(port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[Webhooks]:
    """Run an HTTP server on the loopback interface.

    :param context: with which it speaks TLS.
    """
    found = Webhooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((dict(self.headers.items()), body))
            found.at_once += 1
            found.at_once_max = max(found.at_once_max, found.at_once)
            time.sleep(found.delay_seconds)
            found.at_once -= 1
            answer = found.answers.pop(0) if found.answers else found.status
            if callable(answer):
                answer(self)
                return
            self.send_response(answer)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        found.port = server.server_port
        found.url = f"http://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def redirect_to(url: str) -> Any:
    """Return an answer that redirects."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def drip(seconds: float) -> Any:
    """Return an answer that sends its status line byte by byte without end."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        until = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            handler.wfile.write(b"HTTP/1.1 200 ")
            while time.monotonic() < until:
                handler.wfile.write(b"O")
                time.sleep(0.05)

    return answer


@dataclass
class Mailbox:
    """The messages to an SMTP server, and its replies.

    :param answers: for each of the next messages the reply, such as `451 try later`; later ones are accepted.
    """

    host: str
    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Store the message, or refuse it."""
        if self.answers:
            return self.answers.pop(0)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.recipients.append(envelope.rcpt_tos)
        return "250 accepted"

    def text(self, number: int = -1) -> str:
        """Return the plain text of a mail."""
        part = self.mails[number].get_body(("plain",))
        assert part is not None
        return str(part.get_content())


@contextlib.contextmanager
def receive_mail(**options: Any) -> Iterator[Mailbox]:
    """Run an SMTP server on the loopback interface.

    :param options: options of aiosmtpd's controller.
    """
    mailbox = Mailbox("127.0.0.1", free_port())
    controller = Controller(mailbox, hostname=mailbox.host, port=mailbox.port, **options)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()
