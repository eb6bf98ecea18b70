"""Addresses and networks: where a caller is, and from where a client may call (I3, A8, C5)."""

import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from .errors import FieldError
from .words import format_number, gettext, lazy_gettext

NETWORKS_MAX = 50
LABEL_MAX = 60
_REPEATED_MAX = 50
_EVERYWHERE = lazy_gettext("%(network)s is every address there is. Leave the list empty to allow all.")
_WITH_PORT = re.compile(r"\[([^\]]+)\](?::[0-9]*)?|([0-9.]+):[0-9]+")
_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)
_MAPPED_IPV4 = ipaddress.IPv6Network("::ffff:0:0/96")

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
        return str(_address((with_port[1] or with_port[2]) if with_port else text))
    except ValueError:
        return None


def block_of(address: str | None) -> str:
    """Return what counts as one caller: an IPv4 address, or an IPv6 /64, which is one customer's (D2)."""
    try:
        found = _address(address or "")
    except ValueError:
        return "unknown"
    return str(found if found.version == 4 else ipaddress.IPv6Network((int(found), 64), strict=False).network_address)


def is_allowed(networks: Sequence[AllowedNetwork], address: str | None) -> bool:
    """Tell whether a client with these networks may call from an address; with none it may from anywhere (A8)."""
    if not networks:
        return True
    try:
        found = _address(address or "")
    except ValueError:
        return False
    return any(found in network for network in _compiled(tuple(networks)))


@lru_cache(maxsize=1024)
def _compiled(networks: tuple[AllowedNetwork, ...]) -> list[Network]:
    return [ipaddress.ip_network(network) for network, _ in networks]


def _address(text: str) -> Address:
    found = ipaddress.ip_address(text.partition("%")[0])
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


# From where a client may call


def check_networks(text: str) -> tuple[AllowedNetwork, ...]:
    """Return the networks of a text: on each line an address, or a network in CIDR notation, then its label if any.

    Repeats are left out; the first of them keeps its label.

    :raises FieldError: lines that are neither, with their numbers; more than 50 networks.
    """
    found: dict[str, AllowedNetwork] = {}
    errors = []
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            allowed = _line(line)
            found.setdefault(allowed.network, allowed)
        except ValueError as error:
            errors.append(gettext("Line %(number)s: %(problem)s", number=number, problem=error))
    if errors:
        raise FieldError(
            "allowed_networks",
            " ".join(errors[:5] + [gettext("There are more such lines.")] * (len(errors) > 5)),
            gettext("Allowed addresses: %(problem)s", problem=errors[0].rstrip(".")),
        )
    if len(found) > NETWORKS_MAX:
        raise FieldError(
            "allowed_networks",
            gettext(
                "There are %(number)s networks. Use at most %(most)s: join neighbours into larger ones.",
                number=format_number(len(found)),
                most=NETWORKS_MAX,
            ),
            gettext("Allowed addresses: use at most %(most)s", most=NETWORKS_MAX),
        )
    return tuple(found.values())


def networks_text(networks: Sequence[AllowedNetwork]) -> str:
    """Return the text that `check_networks` reads as these networks."""
    return "\n".join(map(str, networks))


def _line(line: str) -> AllowedNetwork:
    """Return the network of a line.

    :raises ValueError: there is none; the text says how to mend it.
    """
    written, _, label = re.sub(r"\s+", " ", line.strip()).partition(" ")
    network = _network(written)
    if label:
        label = unicodedata.normalize("NFC", label)
        if not label.isprintable():
            raise ValueError(gettext("the label has a character that cannot be used. Type it again."))
        if len(label) > LABEL_MAX:
            raise ValueError(
                gettext("the label has %(number)s characters. Use at most %(most)s.", number=len(label), most=LABEL_MAX)
            )
        if _is_network(label.partition(" ")[0]):
            raise ValueError(gettext("there are two addresses. Write one on each line."))
    return AllowedNetwork(str(network), label)


def _network(written: str) -> Network:
    shown = f"“{written[:_REPEATED_MAX]}”" if written.isprintable() else gettext("this")
    address, slash, prefix = written.partition("/")
    if "%" in address:
        raise ValueError(gettext("%(network)s names a zone. Leave out %% and what follows.", network=shown))
    try:
        found = ipaddress.ip_address(address)
        if slash and not _PREFIX.fullmatch(prefix):
            raise ValueError(prefix)
        network = ipaddress.ip_network(f"{address}/{prefix}" if slash else address, strict=False)
    except ValueError:
        raise ValueError(
            gettext(
                "%(network)s is neither an address nor a network."
                " Write it like 192.0.2.7, 192.0.2.0/28 or 2001:db8::/32.",
                network=shown,
            )
        ) from None
    if network.prefixlen == 0:
        raise ValueError(str(_EVERYWHERE) % {"network": shown})
    if found != network.network_address:
        raise ValueError(
            gettext(
                "%(network)s has bits set beyond its prefix. Write %(whole)s, or %(address)s for this address alone.",
                network=shown,
                whole=network,
                address=found,
            )
        )
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED_IPV4):
        network = ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
        if network.prefixlen == 0:
            raise ValueError(str(_EVERYWHERE) % {"network": shown})
    return network


def _is_network(word: str) -> bool:
    try:
        _network(word.strip(",;"))
    except ValueError:
        return False
    return True
