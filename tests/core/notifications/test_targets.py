"""Targets of notifications: accepted addresses, and the audit events of their changes."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, select

from tests.support.factories import make_account, make_author, make_client
from tests.support.notifications import STORAGE, TARGETS, make_delivery, make_target, messages, notifying
from tests.support.receivers import receive_webhooks
from webapp.core.database.models import AuditEvent, NotificationTarget
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import InvalidFields, NotFound
from webapp.core.notifications.kinds import Channel, EventKind
from webapp.core.notifications.targets import StaleTarget, TargetService, list_targets, shown_address
from webapp.core.notifications.webhooks import is_public

PUBLIC_ONLY = TargetService(STORAGE, sends_mail=False, allow_private=False)


def errors_of(engine: Engine, address: str, service: TargetService = TARGETS, **overrides: Any) -> set[str]:
    """Return the fields with an error."""
    make_account(engine, "northwind")
    given: dict[str, Any] = {
        "channel": Channel.EMAIL if "@" in address and "//" not in address else Channel.WEBHOOK,
        "address": address,
        "kinds": [EventKind.CREATED],
    }
    try:
        with unit_of_work(engine) as session:
            service.add(session, author=make_author(), **(given | overrides))
    except InvalidFields as invalid:
        return {error.field for error in invalid.errors}
    return set()


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        ("ops@northwind.example", True),
        (" ops@northwind.example ", True),
        (f"{'a' * 64}@{'b' * 60}.example", True),
        (f"{'a' * 65}@northwind.example", False),
        ("ops@northwind", False),
        ("ops@@northwind.example", False),
        ("ops@northwind.example\r\nBcc: a@b.example", False),
        ("ops@northwind.example,more@northwind.example", False),
        ("Ops <ops@northwind.example>", False),
    ],
)
def test_email_addresses(sqlite_engine: Engine, address: str, accepted: bool) -> None:
    assert errors_of(sqlite_engine, address, channel=Channel.EMAIL) == (set() if accepted else {"address"})


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://hooks.example/identity?team=1", True),
        ("https://hooks.example:8443/", True),
        ("https://93.184.215.14/", True),
        ("https://hooks.example/" + "a" * 478, True),
        ("https://hooks.example/" + "a" * 479, False),
        ("http://hooks.example/", False),
        ("ftp://hooks.example/", False),
        ("https://user:password@hooks.example/", False),
        ("https://hooks.example/#part", False),
        ("https://hooks.example/a b", False),
        ("https://hooks.example:port/", False),
        ("https://[::1/", False),
        ("https:///hook", False),
        ("https://127.0.0.1/", False),
        ("https://10.0.0.1/", False),
        ("https://[::1]/", False),
        ("https://[::ffff:169.254.169.254]/", False),
        ("hooks.example", False),
    ],
)
def test_webhook_addresses(sqlite_engine: Engine, url: str, accepted: bool) -> None:
    found = errors_of(sqlite_engine, url, PUBLIC_ONLY, channel=Channel.WEBHOOK)
    assert found == (set() if accepted else {"address"})


def test_without_a_mail_server_no_email_address_is_added(sqlite_engine: Engine) -> None:
    assert errors_of(sqlite_engine, "ops@northwind.example", PUBLIC_ONLY) == {"address"}


def test_all_errors_are_reported_together(sqlite_engine: Engine) -> None:
    assert errors_of(sqlite_engine, "ops@", kinds=["nonsense"]) == {"address", "kinds"}
    assert errors_of(sqlite_engine, "ops@northwind.example", kinds=[]) == {"kinds"}


def test_a_target_is_added_once_and_at_most_twenty(sqlite_engine: Engine) -> None:
    assert errors_of(sqlite_engine, "ops@northwind.example") == set()
    assert errors_of(sqlite_engine, "OPS@northwind.example") == {"address"}
    for number in range(19):
        assert errors_of(sqlite_engine, f"ops{number}@northwind.example") == set()
    assert errors_of(sqlite_engine, "ops20@northwind.example") == {"address"}


def test_changes_of_targets_are_audit_events(engine: Engine) -> None:
    """The path of a webhook's URL, which may contain a secret, is left out (L1, L4)."""
    target, secret = make_target(engine, "https://hooks.example/T0/secret-path", [EventKind.CREATED])
    author = make_author()
    with unit_of_work(engine) as session:
        target = TARGETS.edit(
            session, author=author, target_id=target.id, version=target.version, kinds=[EventKind.DELETED]
        )
    with unit_of_work(engine) as session:
        target, _ = TARGETS.change_secret(session, author=author, target_id=target.id, version=target.version)
    with unit_of_work(engine) as session:
        TARGETS.remove(session, author=author, target_id=target.id, version=target.version)
    with read_session(engine) as session:
        events: Sequence[AuditEvent] = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
        assert list_targets(session, "northwind") == []
    assert [event.action for event in events] == [
        "notification target added",
        "notification target changed",
        "webhook secret changed",
        "notification target removed",
    ]
    assert events[1].changes["kinds"] == [["client.created"], ["client.deleted"]]
    assert "secret-path" not in str([event.changes for event in events])
    assert secret not in str([event.changes for event in events])
    assert shown_address(target) == "https://hooks.example/…"


def test_a_stale_version_changes_nothing(engine: Engine) -> None:
    """A repeated POST for a new secret is stale as well (I7)."""
    target, _ = make_target(engine, "https://hooks.example/")
    for change in (
        lambda session, **same: TARGETS.edit(session, kinds=[EventKind.DELETED], **same),
        lambda session, **same: TARGETS.change_secret(session, **same),
    ):
        with pytest.raises(StaleTarget), unit_of_work(engine) as session:
            change(session, author=make_author(), target_id=target.id, version=target.version + 1)
    with read_session(engine) as session:
        assert session.get_one(NotificationTarget, target.id).version == target.version


def test_a_foreign_target_is_not_found(engine: Engine) -> None:
    """It is answered like an absent one (A3)."""
    target, _ = make_target(engine, "https://hooks.example/")
    foreign = make_author("harbour")
    for call in (
        lambda session: TARGETS.edit(
            session, author=foreign, target_id=target.id, version=1, kinds=[EventKind.CREATED]
        ),
        lambda session: TARGETS.change_secret(session, author=foreign, target_id=target.id, version=1),
        lambda session: TARGETS.remove(session, author=foreign, target_id=target.id, version=1),
    ):
        with pytest.raises(NotFound), unit_of_work(engine) as session:
            call(session)


# Private networks


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("fd00::1", False),
        ("ff0e::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::10.0.0.1", False),
        ("64:ff9b::93.184.215.14", True),
        ("2002:a00:1::", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


@pytest.mark.parametrize("resolved", [["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:127.0.0.1"]])
def test_a_name_that_resolves_to_a_private_address_gets_no_message(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch, resolved: list[str]
) -> None:
    """The address is checked after each resolution, since the name may change."""
    engine = sqlite_engine
    with receive_webhooks() as hooks:
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda _host, port, **_: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in resolved],
        )
        make_target(engine, f"http://hooks.example:{hooks.port}/", [EventKind.CREATED])
        make_client(notifying(engine))
        assert make_delivery(engine, allow_private=False).deliver_due() == (0, 1)
        assert hooks.requests == []
    assert messages(engine)[0].last_error == "The receiver is on a private network, where nothing is sent."


def test_the_connection_goes_to_the_address_that_was_checked(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is resolved once, since a second resolution could give another address (DNS rebinding)."""
    engine, asked = sqlite_engine, []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1" if host == "hooks.example" else host, port, *arguments, **options)

    with receive_webhooks() as hooks:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        make_target(engine, f"http://hooks.example:{hooks.port}/", [EventKind.CREATED])
        make_client(notifying(engine))
        assert make_delivery(engine).deliver_due() == (1, 0)
    assert asked.count("hooks.example") == 1
    assert hooks.requests[0][0]["Host"] == f"hooks.example:{hooks.port}"
