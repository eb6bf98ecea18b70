"""Allowed networks: parsing the list, checking an address, and saving the list (I3, A8)."""

import ipaddress
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, make_author, make_client, make_requests
from webapp.core.addresses import AllowedNetwork, canonical_address, is_allowed, rate_limit_address
from webapp.core.audit.actions import Action
from webapp.core.client_changes import StaleVersion, get_client
from webapp.core.clients.allowed_networks import (
    ANYWHERE,
    NETWORKS_MAX,
    NetworksUnconfirmed,
    check_networks,
    format_networks,
    set_networks,
)
from webapp.core.database.models import AuditEvent, IdentityClient
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import FieldError, InvalidFields, NotFound
from webapp.core.usage.queries import LATEST_MAX
from webapp.core.usage.recent_addresses import recent_addresses

# Parsing the list


@pytest.mark.parametrize(
    ("line", "network", "label"),
    [
        ("192.0.2.7", "192.0.2.7/32", ""),
        ("192.0.2.7/32", "192.0.2.7/32", ""),
        ("192.0.2.0/28", "192.0.2.0/28", ""),
        ("0.0.0.0/1", "0.0.0.0/1", ""),
        ("2001:db8::7", "2001:db8::7/128", ""),
        ("2001:DB8:0:0::/32", "2001:db8::/32", ""),
        ("2001:0db8::/33", "2001:db8::/33", ""),
        ("::/1", "::/1", ""),
        ("::ffff:192.0.2.0/124", "192.0.2.0/28", ""),
        ("::ffff:192.0.2.7", "192.0.2.7/32", ""),
        ("192.0.2.0/28 London data centre", "192.0.2.0/28", "London data centre"),
        ("  192.0.2.0/28 \t Zürich,  Büro 2 ", "192.0.2.0/28", "Zürich, Büro 2"),
        ("192.0.2.0/28 Zu\u0308rich", "192.0.2.0/28", "Zürich"),
        (f"192.0.2.7 {'x' * 60}", "192.0.2.7/32", "x" * 60),
        ("192.0.2.7 # 3rd floor", "192.0.2.7/32", "# 3rd floor"),
    ],
)
def test_a_line_is_stored_in_canonical_form(line: str, network: str, label: str) -> None:
    """An address or network is stored in canonical form, with its label (I3)."""
    assert check_networks(line) == (AllowedNetwork(network, label),)


NOT_A_NETWORK = "is neither an address nor a range. Write it like"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # host bits
        ("192.0.2.7/28", "192.0.2.7/28 is not the start of a range. Use 192.0.2.0/28."),
        ("2001:db8::1/32", "2001:db8::1/32 is not the start of a range. Use 2001:db8::/32."),
        ("192.0.2.1/31", "Use 192.0.2.0/31"),
        # leading zeros
        ("192.0.02.7", NOT_A_NETWORK),
        ("010.0.0.0/8", NOT_A_NETWORK),
        ("192.0.2.0/08", NOT_A_NETWORK),
        # zone ids
        ("fe80::1%eth0", "names a zone"),
        ("fe80::%1/64", "names a zone"),
        # everything
        ("0.0.0.0/0", "is every address there is. Leave the list empty"),
        ("::/0", "is every address there is"),
        ("192.0.2.7/0", "is every address there is"),
        ("::ffff:0:0/96", "is every address there is"),
        # other forms
        ("192.0.2.0/33", NOT_A_NETWORK),
        ("2001:db8::/129", NOT_A_NETWORK),
        ("192.0.2.0/255.255.255.0", NOT_A_NETWORK),
        ("192.0.2.0/0.0.0.255", NOT_A_NETWORK),
        ("192.0.2.0/-1", NOT_A_NETWORK),
        ("192.0.2.0/", NOT_A_NETWORK),
        ("192.0.2.0/２８", NOT_A_NETWORK),
        ("192.0.2.0-192.0.2.9", NOT_A_NETWORK),
        ("192.0.2", NOT_A_NETWORK),
        ("3221225991", NOT_A_NETWORK),
        ("0xC0000207", NOT_A_NETWORK),
        ("[2001:db8::1]", NOT_A_NETWORK),
        ("api.example.com", NOT_A_NETWORK),
        ("London 192.0.2.7", "“London” is neither an address"),
        ("<script>alert(1)</script>", "“<script>alert(1)</script>” is neither"),
        ("192.0.2.7\0", "this is neither an address"),
        ("\ud800", "this is neither an address"),
        ("x" * 1000, f"“{'x' * 50}” is neither"),
        # labels
        ("192.0.2.7 192.0.2.8", "there are two addresses. Enter each by itself."),
        ("192.0.2.7, 192.0.2.8", NOT_A_NETWORK),
        ("192.0.2.7 2001:db8::/32", "there are two addresses"),
        (f"192.0.2.7 {'x' * 61}", "the label has 61 characters. Use at most 60."),
        ("192.0.2.7 right\u202eleft", "the label has a character that cannot be used"),
        ("192.0.2.7 nul\0", "the label has a character that cannot be used"),
        ("192.0.2.7 half\ud800", "the label has a character that cannot be used"),
    ],
)
def test_an_invalid_line_is_reported_with_its_number(line: str, message: str) -> None:
    """The error of an invalid line contains its number (I3)."""
    with pytest.raises(FieldError) as caught:
        check_networks(f"198.51.100.0/24\r\n\r\n{line}\n203.0.113.7 the last one")
    assert caught.value.field == "allowed_networks"
    assert caught.value.message.startswith("Line 3: ")
    assert message in caught.value.message
    assert "Line 1" not in caught.value.message
    caught.value.message.encode()  # its message can be encoded


@pytest.mark.parametrize("lines", [1, 5, 6, 7])
def test_up_to_five_invalid_lines_are_reported(lines: int) -> None:
    """Five invalid lines are reported one by one; a note says that there are more (I3)."""
    with pytest.raises(FieldError) as caught:
        check_networks("\n".join("abcdefg"[:lines]))
    reported = [f"Line {number}:" in caught.value.message for number in range(1, 8)]
    assert reported == [number <= min(lines, 5) for number in range(1, 8)]
    assert caught.value.message.endswith("There are more such lines.") == (lines > 5)


@pytest.mark.parametrize("text", ["", "\n", " \r\n \t\r\n"])
def test_an_empty_list_is_valid(text: str) -> None:
    """Blank text is an empty list (I3)."""
    assert check_networks(text) == ()


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r"])
def test_duplicates_are_removed(separator: str) -> None:
    """The order is kept, and so is the label of the first occurrence (I3)."""
    lines = ["203.0.113.7 here", "192.0.2.0/28", "203.0.113.7/32 again", "::ffff:203.0.113.7", "192.0.2.0/28 later"]
    assert check_networks(separator.join(lines)) == (
        AllowedNetwork("203.0.113.7/32", "here"),
        AllowedNetwork("192.0.2.0/28", ""),
    )


@pytest.mark.parametrize("count", [NETWORKS_MAX, NETWORKS_MAX + 1])
def test_at_most_50_networks(count: int) -> None:
    """Duplicates do not count towards the 50 (I3)."""
    text = "\n".join([f"192.0.2.{number}" for number in range(count)] + ["192.0.2.0"])
    if count <= NETWORKS_MAX:
        assert len(check_networks(text)) == count
    else:
        with pytest.raises(FieldError, match="There are 51 networks"):
            check_networks(text)


NETWORKS = st.builds(
    lambda address, bits: ipaddress.ip_network((address, address.max_prefixlen - bits), strict=False),
    st.ip_addresses(),
    st.integers(0, 31),
).filter(lambda network: not str(network).startswith("::ffff:"))


@given(st.lists(st.tuples(NETWORKS, st.text("abc äß#1.", max_size=20)), max_size=10))
def test_parsing_the_stored_form_changes_nothing(
    lines: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]],
) -> None:
    """The stored form of a list parses to the same list (I3)."""
    networks = check_networks("\n".join(f"{network} {label}" for network, label in lines))
    assert {network for network, _ in networks} == {str(network) for network, _ in lines}
    assert check_networks(format_networks(networks)) == networks


# Checking an address


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("192.0.2.0", True),
        ("192.0.2.15", True),
        ("192.0.2.16", False),
        ("192.0.1.255", False),
        ("::ffff:192.0.2.15", True),
        ("::FFFF:C000:020F", True),
        ("::ffff:192.0.2.16", False),
        ("::192.0.2.15", False),
        ("2001:db8:1::", True),
        ("2001:db8:1:ffff:ffff:ffff:ffff:ffff", True),
        ("2001:db8:2::", False),
        ("2001:db8:1::1%eth0", True),
        ("0.0.0.0", False),
        ("", False),
        ("unknown", False),
        (None, False),
    ],
)
def test_an_address_is_checked_against_the_networks(address: str | None, allowed: bool) -> None:
    """An IPv4-mapped address counts as IPv4; text that is no address is outside every network (A8)."""
    networks = check_networks("192.0.2.0/28 office\n2001:db8:1::/48")
    assert is_allowed(networks, address) is allowed
    assert is_allowed((), address)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("[::ffff:192.0.2.7]:1", "192.0.2.7"),
        ("2001:db8::1:4711", "2001:db8::1:4711"),
        ("192.0.2.7:", None),
        ("192.0.2.7:port", None),
        ("[192.0.2.7", None),
        ("[]:1", None),
    ],
)
def test_a_port_that_a_proxy_appends_is_ignored(text: str, address: str | None) -> None:
    """A port that a proxy appends is left out (C5)."""
    assert canonical_address(text) == address


@pytest.mark.parametrize(
    ("address", "canonical", "block"),
    [
        ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0:1::7", "2001:db8::1:0:0:7", "2001:db8::"),
        ("2001:db8::ffff:1%2", "2001:db8::ffff:1", "2001:db8::"),
        ("2001:db8:0:1::7", "2001:db8:0:1::7", "2001:db8:0:1::"),
        ("192.0.2.07", None, "unknown"),
        ("", None, "unknown"),
    ],
)
def test_addresses_have_one_form_and_one_rate_limit_key(address: str, canonical: str | None, block: str) -> None:
    """Addresses have one form and one block (D2, C5)."""
    assert canonical_address(address) == canonical
    assert rate_limit_address(address) == block


# Saving the list


def networks_of(engine: Engine, key: uuid.UUID) -> tuple[AllowedNetwork, ...]:
    with read_session(engine) as session:
        return session.get_one(IdentityClient, key).allowed_networks


def test_the_list_is_saved_with_an_event(engine: Engine) -> None:
    """The event contains the list before and after; saving an equal list writes nothing (I3, L1)."""
    client = make_client(engine)
    assert networks_of(engine, client.id) == ()
    for version, text in ((1, "192.0.2.0/28  Zürich “A”\n2001:db8::1"), (2, "2001:db8::1\r\n"), (3, "2001:db8::1/128")):
        with unit_of_work(engine) as session:
            set_networks(session, author=make_author(), key=client.id, version=version, text=text)
    with read_session(engine) as session:
        kept = session.get_one(IdentityClient, client.id)
        events = session.scalars(
            select(AuditEvent).where(AuditEvent.action == Action.NETWORKS_CHANGED).order_by(AuditEvent.id)
        ).all()
    assert kept.allowed_networks == (AllowedNetwork("2001:db8::1/128", ""),)
    assert kept.version == 3
    assert [event.changes for event in events] == [
        {"allowed_networks": [[], ["192.0.2.0/28 Zürich “A”", "2001:db8::1/128"]]},
        {"allowed_networks": [["192.0.2.0/28 Zürich “A”", "2001:db8::1/128"], ["2001:db8::1/128"]]},
    ]


def test_nothing_is_written_for_an_invalid_list_a_stale_version_or_another_account(engine: Engine) -> None:
    """Nothing is written for an invalid list, a stale version or a foreign client (I3, I7, A3)."""
    client = make_client(engine)
    for author, version, text, error in (
        (make_author(), 1, "0.0.0.0/0", InvalidFields),
        (make_author(), 0, "192.0.2.7", StaleVersion),
        (make_author(), None, "192.0.2.7", StaleVersion),
        (make_author(OTHER_ACCOUNT), 1, "192.0.2.7", NotFound),
    ):
        with pytest.raises(error), unit_of_work(engine) as session:
            set_networks(session, author=author, key=client.id, version=version, text=text)
    assert networks_of(engine, client.id) == ()


# Addresses that a new list would refuse


def save(engine: Engine, client: IdentityClient, text: str, *confirmed: str) -> None:
    """Set the networks of a client in its current version."""
    with unit_of_work(engine) as session:
        version = session.get_one(IdentityClient, client.id).version
        set_networks(
            session, author=make_author(), key=client.id, version=version, text=text, confirmed=frozenset(confirmed)
        )


def confirmations(engine: Engine, client: IdentityClient, text: str, *confirmed: str) -> dict[str, datetime]:
    """Return the addresses that have to be confirmed first."""
    with pytest.raises(NetworksUnconfirmed) as unconfirmed:
        save(engine, client, text, *confirmed)
    return dict(unconfirmed.value.consequences.refused)


CALLER, OTHER_CALLER, GUESSER = "203.0.113.7", "2001:db8::9", "198.51.100.20"
NOW = datetime(2026, 11, 23, 10, 42, tzinfo=UTC)
WEEK, DAY, SECOND = timedelta(days=7), timedelta(days=1), timedelta(seconds=1)


@time_machine.travel(NOW, tick=False)
def test_refusing_an_address_that_called_within_a_week_needs_confirmation(engine: Engine) -> None:
    """Each address is listed with its last call, and a confirmation covers only what it lists (A8)."""
    client = make_client(engine)
    make_requests(engine, client, at=NOW - WEEK, address=CALLER)
    make_requests(engine, client, at=NOW - SECOND, address=CALLER, outcome=Outcome.SCOPE_NOT_ALLOWED)
    make_requests(engine, client, at=NOW - WEEK, address=OTHER_CALLER)
    make_requests(engine, client, at=NOW - WEEK - SECOND, address="203.0.113.8")
    make_requests(engine, client, 9, address=GUESSER, outcome=AuthenticationFailure.WRONG_SECRET, secret_label=None)
    make_requests(engine, client, 9, address=GUESSER, outcome=Outcome.THROTTLED, secret_label=None)
    refused = {CALLER: NOW - SECOND, OTHER_CALLER: NOW - WEEK}
    assert list(confirmations(engine, client, "192.0.2.0/24").items()) == list(refused.items())
    assert confirmations(engine, client, "192.0.2.0/24", CALLER) == refused
    assert confirmations(engine, client, "203.0.113.0/28") == {OTHER_CALLER: NOW - WEEK}
    assert networks_of(engine, client.id) == ()
    save(engine, client, "203.0.113.0/28\n192.0.2.0/24", OTHER_CALLER)
    # An address that is refused already needs no confirmation.
    save(engine, client, "203.0.113.0/29\n192.0.2.0/24 Renamed")
    assert confirmations(engine, client, "192.0.2.0/24") == {CALLER: NOW - SECOND}


@time_machine.travel(NOW, tick=False)
def test_a_rare_caller_is_known_beside_a_frequent_one(engine: Engine) -> None:
    """The 200 latest requests of a busy client cover seconds, and its secret stores the last caller only (A8)."""
    client = make_client(engine)
    make_requests(engine, client, at=NOW - 6 * DAY, address=CALLER)
    make_requests(engine, client, 300, at=NOW - SECOND, address=OTHER_CALLER)
    make_requests(engine, client, 300, outcome=AuthenticationFailure.ADDRESS_NOT_ALLOWED, address=GUESSER)
    with read_session(engine) as session:
        seen = recent_addresses(session, get_client(session, account_id=ACCOUNT, key=client.id))
    assert seen.count(CALLER) == 0
    assert seen.count(GUESSER) == LATEST_MAX
    assert seen.complete_since == NOW
    assert seen.last_seen(AllowedNetwork(f"{CALLER}/32", "")) == NOW - 6 * DAY
    assert seen.last_seen(AllowedNetwork("192.0.2.0/28", "")) is None
    assert confirmations(engine, client, "192.0.2.0/24") == {OTHER_CALLER: NOW - SECOND, CALLER: NOW - 6 * DAY}


def test_allowing_all_addresses_needs_confirmation(engine: Engine) -> None:
    """An empty list allows all addresses (A8)."""
    client = make_client(engine)
    save(engine, client, "")
    save(engine, client, "192.0.2.0/24")
    assert confirmations(engine, client, "  \n") == {}
    assert networks_of(engine, client.id) == (AllowedNetwork("192.0.2.0/24", ""),)
    save(engine, client, "", ANYWHERE)
    assert networks_of(engine, client.id) == ()
