"""Send one message to a webhook (Standard Webhooks), never to a private network unless that is allowed."""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from ..addresses import Address

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 15.0
"""How long one attempt may take, from the name to the status of the answer."""
ADDRESSES_MAX = 3
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PORTS = {"https": 443, "http": 80}


class DeliveryFailed(Exception):
    """A message was not accepted. The text says why, for the person who reads the log; it holds no secret."""


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> None:
    """Send a POST, to an address that was checked after the name was resolved; follow no redirect.

    :param allow_private: send to private and loopback addresses too.
    :raises DeliveryFailed: the receiver is not reached, or answers with anything but 2xx.
    """
    parts = urlsplit(url)
    name, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    deadline = time.monotonic() + TOTAL_SECONDS
    try:
        connected = _connect(name, port, deadline, allow_private=allow_private)
        with contextlib.closing(connected), closed_after(connected, deadline - time.monotonic()):
            status = _send(parts.scheme, name, port, connected, _path(url), body, headers)
    except TimeoutError:
        raise DeliveryFailed("The receiver did not answer in time.") from None
    except ssl.SSLCertVerificationError as error:
        raise DeliveryFailed(f"The certificate is not valid: {error.verify_message}.") from None
    except ssl.SSLError:
        raise DeliveryFailed("No encrypted connection could be made.") from None
    except (OSError, http.client.HTTPException) as error:
        raise DeliveryFailed(f"The connection failed ({type(error).__name__}).") from None
    if 300 <= status < 400:
        raise DeliveryFailed(f"The receiver answered {status}, and redirects are not followed.")
    if not 200 <= status < 300:
        raise DeliveryFailed(f"The receiver answered {status}.")


def is_public(address: Address) -> bool:
    """Return whether an address is reachable by anybody, also the IPv4 address that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


@contextlib.contextmanager
def closed_after(connection: socket.socket, seconds: float) -> Iterator[None]:
    """Shut a connection down after so many seconds, however slowly its other end goes on sending.

    :raises TimeoutError: it was shut down.
    """
    # A second handle of the same connection, since TLS takes the first one over.
    handle, is_over = connection.dup(), threading.Event()

    def shut_down() -> None:
        is_over.set()
        with contextlib.suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(seconds, 0), shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException):
        if is_over.is_set():
            raise TimeoutError from None
        raise
    else:
        # What came until then may look like a whole answer.
        if is_over.is_set():
            raise TimeoutError
    finally:
        timer.cancel()
        timer.join()
        handle.close()


def _connect(name: str, port: int, deadline: float, *, allow_private: bool) -> socket.socket:
    """Return a connection to an address of this name.

    :raises DeliveryFailed: the name does not resolve, or to a private address.
    :raises OSError: no address answers.
    """
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise DeliveryFailed("The name of the receiver is not known.") from None
    # Of a scoped address only the part before "%" is one.
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    # All of them, since a name that has a public and a private address is no honest mistake.
    if not allow_private and not all(is_public(ipaddress.ip_address(address)) for address in addresses):
        raise DeliveryFailed("The receiver is on a private network, where nothing is sent.")
    error: OSError = TimeoutError()
    for address in addresses[:ADDRESSES_MAX]:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        try:
            return socket.create_connection((address, port), timeout=min(CONNECT_SECONDS, remaining))
        except OSError as failed:
            error = failed
    raise error


def _send(
    scheme: str, name: str, port: int, connected: socket.socket, path: str, body: bytes, headers: Mapping[str, str]
) -> int:
    """Send the request on a connection, and return the status of the answer; its body is not read."""
    connection: http.client.HTTPConnection
    if scheme == "https":
        # The certificate must be that of the name, not of the address.
        connected = ssl.create_default_context().wrap_socket(connected, server_hostname=name)
        connection = http.client.HTTPSConnection(name, port)
    else:
        connection = http.client.HTTPConnection(name, port)
    with contextlib.closing(connected):
        connection.sock = connected
        connection.request("POST", path, body, dict(headers))
        with connection.getresponse() as response:
            return response.status


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
