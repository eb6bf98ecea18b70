"""IP addresses of callers, and the networks from which a client may call."""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[0-9]*)?|([0-9.]+):[0-9]+")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AllowedNetwork(NamedTuple):
    """One network from which a client may call.

    :param network: in canonical form, such as `192.0.2.0/28` or `2001:db8::/32`.
    :param label: what people call it; empty: nothing.
    """

    network: str
    label: str

    def __str__(self) -> str:
        return f"{self.network} {self.label}".rstrip()


# Where a caller is


@lru_cache(maxsize=4096)
def canonical_address(text: str) -> str | None:
    """Return an address as it is written everywhere here, an IPv4-mapped one as IPv4; None if it is none.

    Some proxies append the port that a caller came from, which is left out.
    """
    with_port = _WITH_PORT.fullmatch(text)
    try:
        return str(parse_address((with_port[1] or with_port[2]) if with_port else text))
    except ValueError:
        return None


def rate_limit_address(address: str | None) -> str:
    """Return what counts as one caller: an IPv4 address, or an IPv6 /64, which is one customer's (D2)."""
    try:
        found = parse_address(address or "")
    except ValueError:
        return "unknown"
    return str(found if found.version == 4 else ipaddress.IPv6Network((int(found), 64), strict=False).network_address)


def is_allowed(networks: Sequence[AllowedNetwork], address: str | None) -> bool:
    """Tell whether a client with these networks may call from an address; with none it may from anywhere (A8)."""
    if not networks:
        return True
    try:
        found = parse_address(address or "")
    except ValueError:
        return False
    return any(found in network for network in _compiled(tuple(networks)))


@lru_cache(maxsize=1024)
def _compiled(networks: tuple[AllowedNetwork, ...]) -> list[Network]:
    return [ipaddress.ip_network(network) for network, _ in networks]


def parse_address(text: str) -> Address:
    """Return an IP address, an IPv4-mapped IPv6 address as IPv4.

    :raises ValueError: the text is not an address.
    """
    found = ipaddress.ip_address(text.partition("%")[0])
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found
