"""IP addresses of callers, and the networks from which a client may call."""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[0-9]*)?|([0-9.]+):[0-9]+")


class AllowedNetwork(NamedTuple):
    """One network from which a client may call.

    :param network: in canonical form, such as `192.0.2.0/28` or `2001:db8::/32`.
    :param label: a name for people to read; may be empty.
    """

    network: str
    label: str

    def __str__(self) -> str:
        return f"{self.network} {self.label}".rstrip()


def is_allowed(networks: Sequence[AllowedNetwork], address: str | None) -> bool:
    """Return whether a client with these networks may call from an address; without networks it always may (A8)."""
    if not networks:
        return True
    try:
        parsed = parse_address(address or "")
    except ValueError:
        return False
    return any(parsed in network for network in _parse_networks(tuple(networks)))


@lru_cache(maxsize=4096)
def canonical_address(text: str) -> str | None:
    """Return an address in canonical form, an IPv4-mapped one as IPv4; None if the text is not an address.

    A port, which some proxies append, is left out.
    """
    with_port = _WITH_PORT.fullmatch(text)
    try:
        return str(parse_address((with_port[1] or with_port[2]) if with_port else text))
    except ValueError:
        return None


def rate_limit_address(address: str | None) -> str:
    """Return what rate limits count as one caller: an IPv4 address, or the /64 network of an IPv6 address (D2)."""
    try:
        parsed = parse_address(address or "")
    except ValueError:
        return "unknown"
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False).network_address)


def parse_address(text: str) -> Address:
    """Return an IP address, an IPv4-mapped IPv6 address as IPv4.

    :raises ValueError: the text is not an address.
    """
    parsed = ipaddress.ip_address(text.partition("%")[0])
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed


@lru_cache(maxsize=1024)
def _parse_networks(networks: tuple[AllowedNetwork, ...]) -> list[Network]:
    return [ipaddress.ip_network(network) for network, _ in networks]
