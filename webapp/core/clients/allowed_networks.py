"""Set the networks from which a client may call (A8)."""

import ipaddress
import re
import unicodedata
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from ..addresses import AllowedNetwork, Network
from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, get_client, versioned_change
from ..database.models import IdentityClient, utc_now
from ..errors import DomainError, FieldError, InvalidFields
from ..i18n import format_number, gettext, lazy_gettext
from ..usage.recent_addresses import RecentAddresses, recent_addresses

ANYWHERE = "anywhere"
NETWORKS_MAX = 50
LABEL_MAX = 60
_REPEATED_MAX = 50
_EVERYWHERE = lazy_gettext("%(network)s is every address there is. Leave the list empty to allow all.")
_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}", re.ASCII)
_MAPPED_IPV4 = ipaddress.IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Consequences:
    """The consequences of a new list of networks that a person must confirm.

    :param refused: addresses that called within 7 days and would be refused, with the time of the last call.
    :param opens: whether the client, which is restricted now, could call from anywhere.
    """

    refused: Mapping[str, datetime]
    opens: bool

    @property
    def keys(self) -> frozenset[str]:
        """The values that a confirmation must contain: the addresses, and `ANYWHERE`; empty without consequences."""
        return frozenset(self.refused) | ({ANYWHERE} if self.opens else set())


class NetworksUnconfirmed(DomainError):
    """The list has consequences that the author has not confirmed; nothing was changed."""

    def __init__(self, consequences: Consequences) -> None:
        super().__init__("unconfirmed")
        self.consequences = consequences


def consequences(
    client: IdentityClient, networks: Sequence[AllowedNetwork], seen: RecentAddresses, now: datetime
) -> Consequences:
    """Return the consequences of replacing the client's networks by these."""
    before = client.allowed_networks
    return Consequences(seen.refused_by(networks, before, now), opens=bool(before and not networks))


def set_networks(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    text: str,
    confirmed: Collection[str] = (),
) -> IdentityClient:
    """Restrict a client to these networks, and return it; without a difference nothing is written.

    :param text: one network on each line, as `check_networks` reads it; empty allows every address.
    :param confirmed: the `Consequences.keys` that the author has confirmed.
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since; nothing was written.
    :raises InvalidFields: a line is not a network (I3).
    :raises NetworksUnconfirmed: a consequence is not in `confirmed`.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    check_version(session, client, version)
    try:
        networks = check_networks(text)
    except FieldError as error:
        raise InvalidFields([error]) from None
    now = utc_now()
    follows = consequences(client, networks, recent_addresses(session, client), now)
    if not follows.keys <= set(confirmed):
        raise NetworksUnconfirmed(follows)
    before = client.allowed_networks
    if networks != before:
        with versioned_change(session, author, client, now):
            client.allowed_networks = networks
            changes = {"allowed_networks": [list(map(str, before)), list(map(str, networks))]}
            record_event(session, author, Action.NETWORKS_CHANGED, client, changes)
    return client


def check_networks(text: str) -> tuple[AllowedNetwork, ...]:
    """Return the networks of a text: on each line an address, or a network in CIDR notation, and a label if any.

    Of repeated networks only the first is returned.

    :raises FieldError: a line is neither, with its number, or there are more than 50 networks (I3).
    """
    found: dict[str, AllowedNetwork] = {}
    errors = []
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            allowed = _parse_line(line)
            found.setdefault(allowed.network, allowed)
        except ValueError as error:
            # Translators: problem is one of the sentences that begin with a small letter or an address.
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


def check_network(written: str) -> AllowedNetwork:
    """Return the network and label of a single line of such a text.

    :raises FieldError: it is malformed; the message says how to correct it.
    """
    try:
        return _parse_line(written)
    except ValueError as error:
        message = str(error)
        raise FieldError("allowed_networks", message[:1].upper() + message[1:]) from None


def format_networks(networks: Sequence[AllowedNetwork]) -> str:
    """Return these networks as a text that `check_networks` reads."""
    return "\n".join(map(str, networks))


def _parse_line(line: str) -> AllowedNetwork:
    """Return the network and label of a line.

    :raises ValueError: the line is malformed; the text says how to correct it.
    """
    written, _, label = re.sub(r"\s+", " ", line.strip()).partition(" ")
    network = _parse_network(written)
    if label:
        label = unicodedata.normalize("NFC", label)
        if not label.isprintable():
            raise ValueError(gettext("the label has a character that cannot be used. Type it again."))
        if len(label) > LABEL_MAX:
            raise ValueError(
                gettext("the label has %(number)s characters. Use at most %(most)s.", number=len(label), most=LABEL_MAX)
            )
        if _is_network(label.partition(" ")[0]):
            raise ValueError(gettext("there are two addresses. Enter each by itself."))
    return AllowedNetwork(str(network), label)


def _parse_network(written: str) -> Network:
    """Return a network, an IPv4-mapped IPv6 network as IPv4.

    :raises ValueError: it is malformed; the text says how to correct it.
    """
    # Translators: stands for an address that cannot be shown, such as "this is neither an address nor a range".
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
                "%(network)s is neither an address nor a range."
                " Write it like 192.0.2.7, 192.0.2.0/28 or 2001:db8::/32.",
                network=shown,
            )
        ) from None
    if network.prefixlen == 0:
        raise ValueError(str(_EVERYWHERE) % {"network": shown})
    if found != network.network_address:
        raise ValueError(
            gettext(
                "%(network)s is not the start of a range. Use %(whole)s.",
                network=f"{found}/{network.prefixlen}",
                whole=network,
            )
        )
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED_IPV4):
        network = ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
        if network.prefixlen == 0:
            raise ValueError(str(_EVERYWHERE) % {"network": shown})
    return network


def _is_network(word: str) -> bool:
    try:
        _parse_network(word.strip(",;"))
    except ValueError:
        return False
    return True
