"""The page of notifications: addresses, the log, test messages and repetitions."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update
from standardwebhooks import Webhook
from werkzeug.test import TestResponse

from tests.support.factories import make_client
from tests.support.host import HARBOUR, HTMX, NORTHWIND, PREFIX, Host, make_host
from tests.support.markup import read
from tests.support.notifications import messages
from tests.support.receivers import Mailbox, Webhooks, receive_mail, receive_webhooks
from tests.support.screens import timeline
from webapp.core.database.models import NotificationTarget, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.notifications.kinds import KIND_LABELS, KINDS
from webapp.host import EXTENSION

OPS = "ops@northwind.example"
ENDPOINTS = ("", "/remove", "/secret", "/test")


def make_notifying_host(engine: Engine, mailbox: Mailbox | None = None, **settings: Any) -> Host:
    """Return a host with a mail server, whose webhooks may be on this machine."""
    if mailbox is not None:
        settings |= {"smtp_host": mailbox.host, "smtp_port": mailbox.port, "smtp_security": "none"}
    return make_host(
        engine,
        mail_from="no-reply@vitesse.example",
        webhooks_to_private_networks=True,
        viewer_roles=("Auditor",),
        **settings,
    )


@pytest.fixture
def mailbox_host(sqlite_engine: Engine) -> Any:
    """Return a mailbox and a host that sends to it."""
    with receive_mail() as mailbox:
        yield mailbox, make_notifying_host(sqlite_engine, mailbox)


def targets(host: Host) -> list[NotificationTarget]:
    with read_session(host.engine) as session:
        return list(session.scalars(select(NotificationTarget).order_by(NotificationTarget.id)))


def deliver(host: Host) -> tuple[int, int]:
    """Deliver as `flask identity-clients notify` does."""
    result = host.app.test_cli_runner().invoke(args=["identity-clients", "notify"])
    found = re.fullmatch(r"Notifications delivered: (\d+), failed: (\d+)\.\n", result.output)
    assert found, result.output
    return int(found[1]), int(found[2])


def add(host: Host, address: str, kinds: Any = KINDS, *, htmx: bool = False) -> TestResponse:
    channel = "webhook" if "://" in address else "email"
    return host.post(f"/notifications/add/{channel}", {"address": address, "kinds": list(kinds)}, htmx=htmx)


def secret_in(response: TestResponse) -> str:
    found = re.findall(r"whsec_[A-Za-z0-9+/]{43}=", response.text)
    assert len(set(found)) == 1
    return str(found[0])


def test_there_are_no_targets_by_default(host: Host) -> None:
    page = host.get("/notifications").text
    assert "No address is set, so no messages are sent." in page
    assert "This platform has no mail server: use webhooks." in page
    assert "Add e-mail address" not in page
    assert f"{PREFIX}/notifications" in host.get().text
    assert host.get("/notifications/add/email").status_code == 200
    assert add(host, OPS).status_code == 422


def test_an_email_address_gets_the_chosen_kinds(mailbox_host: tuple[Mailbox, Host], htmx: bool) -> None:
    mailbox, host = mailbox_host
    form = read(host.get("/notifications/add/email", htmx=htmx)).form(address=OPS, kinds=["client.created"])
    answer = host.post("/notifications/add/email", form, token=False, htmx=htmx)
    if htmx:
        assert answer.headers["HX-Trigger"] == "ic-changed"
        assert "Added." in answer.text
    else:
        assert (answer.status_code, answer.location) == (303, f"{PREFIX}/notifications?done=added")
    page = host.get("/notifications").text
    assert OPS in page
    assert KIND_LABELS["client.created"] in page
    client = make_client(host.app.extensions[EXTENSION].engine, account_id="northwind", client_id="acme-claims")
    assert "Waiting" in host.get("/notifications").text
    assert deliver(host) == (1, 0)
    assert f"https://identity.example{PREFIX}/{client.id}" in mailbox.text()
    page = host.get("/notifications").text
    assert "Delivered" in page
    assert "acme-claims" in page
    assert "Priya Nair added an address for notifications" in timeline(host.get("/activity").text)[-1]


def test_a_webhooks_secret_is_shown_once(sqlite_engine: Engine, htmx: bool) -> None:
    """In the response to the POST that created it, which is neither cached nor compressed (S6, W14)."""
    host = make_notifying_host(sqlite_engine)
    with receive_webhooks() as hooks:
        answer = add(host, hooks.url, ["client.created"], htmx=htmx)
        secret = secret_in(answer)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Pragma"] == "no-cache"
        [target] = targets(host)
        changed = host.post(f"/notifications/{target.id}/secret", {"version": str(target.version)}, htmx=htmx)
        new = secret_in(changed)
        make_client(host.app.extensions[EXTENSION].engine, account_id="northwind")
        assert deliver(host) == (1, 0)
    [(headers, body)] = hooks.requests
    for each in (secret, new):
        Webhook(each).verify(body, headers)
    for path in ("/notifications", f"/notifications/{target.id}", "/activity", "/activity.csv"):
        assert "whsec_" not in host.get(path).text
    repeated = host.post(f"/notifications/{target.id}/secret", {"version": str(target.version)}, htmx=htmx)
    assert repeated.status_code == 409
    assert "whsec_" not in repeated.text


@pytest.mark.parametrize(
    ("address", "kinds", "message"),
    [
        ("ops", ["client.created"], "Give an e-mail address"),
        (OPS, [], "Choose at least one kind of message."),
        (OPS, ["nonsense"], "Choose at least one kind of message."),
    ],
)
def test_errors_are_shown_at_their_field(
    mailbox_host: tuple[Mailbox, Host], htmx: bool, address: str, kinds: list[str], message: str
) -> None:
    _, host = mailbox_host
    answer = host.post("/notifications/add/email", {"address": address, "kinds": kinds}, htmx=htmx)
    assert answer.status_code == 422
    assert message in answer.text
    assert f'value="{address}"' in answer.text
    assert targets(host) == []


def test_an_unknown_channel_is_not_found(host: Host) -> None:
    assert host.get("/notifications/add/pigeon").status_code == 404


def test_kinds_are_edited_and_a_stale_form_is_shown_again(mailbox_host: tuple[Mailbox, Host], htmx: bool) -> None:
    """Nothing is saved, and the form has both choices (I7)."""
    _, host = mailbox_host
    add(host, OPS, ["client.created"])
    [target] = targets(host)
    path = f"/notifications/{target.id}"
    form = read(host.get(path, htmx=htmx)).form(kinds=["client.deleted"])
    assert host.post(path, form, token=False, htmx=htmx).status_code in (200, 303)
    assert targets(host)[0].kinds == {"client.deleted"}
    form["kinds"] = ["secret.leaked"]
    stale = host.post(path, form, token=False, htmx=htmx)
    assert stale.status_code == 409
    assert "Priya Nair changed this" in stale.text
    assert f"<li>{KIND_LABELS['client.deleted']}</li>" in stale.text
    assert re.search(r'value="secret.leaked"\s+checked', stale.text)
    form = read(stale).form(kinds=["secret.leaked"])
    assert host.post(path, form, token=False, htmx=htmx).status_code in (200, 303)
    assert targets(host)[0].kinds == {"secret.leaked"}
    assert host.post(path, read(host.get(path)).form(kinds=[]), token=False).status_code == 422


def test_a_test_message_and_a_repetition(mailbox_host: tuple[Mailbox, Host], htmx: bool) -> None:
    mailbox, host = mailbox_host
    add(host, OPS, ["client.created"])
    [target] = targets(host)
    assert host.post(f"/notifications/{target.id}/test", htmx=htmx).status_code in (200, 303)
    assert deliver(host) == (1, 0)
    assert mailbox.mails[0]["Subject"] == "A test message of Vitesse"
    [message] = messages(host.engine)
    assert "Resend" in host.get("/notifications").text
    assert host.post(f"/notifications/messages/{message.id}", htmx=htmx).status_code in (200, 303)
    assert deliver(host) == (1, 0)
    assert mailbox.mails[1]["Message-ID"] == mailbox.mails[0]["Message-ID"]
    for _ in range(28):
        host.post(f"/notifications/{target.id}/test", htmx=htmx)
    assert host.post(f"/notifications/{target.id}/test", htmx=htmx).status_code == 429


def test_a_target_is_removed_after_a_confirmation(mailbox_host: tuple[Mailbox, Host], htmx: bool) -> None:
    _, host = mailbox_host
    add(host, OPS)
    [target] = targets(host)
    assert "Messages that wait for it are not sent." in host.get(f"/notifications/{target.id}/remove", htmx=htmx).text
    assert host.post(f"/notifications/{target.id}/remove", {"version": "9"}, htmx=htmx).status_code == 409
    assert host.post(f"/notifications/{target.id}/remove", {"version": "1"}, htmx=htmx).status_code in (200, 303)
    assert OPS not in host.get("/notifications").text
    for endpoint in ENDPOINTS:
        assert host.get(f"/notifications/{target.id}{endpoint}").status_code == 404


def test_a_failing_target_is_marked_until_a_delivery_succeeds(mailbox_host: tuple[Mailbox, Host]) -> None:
    _, host = mailbox_host
    add(host, OPS)
    [target] = targets(host)
    with unit_of_work(host.engine) as session:
        session.execute(update(NotificationTarget).values(given_up_at=utc_now()))
    assert "could not be delivered for three days" in host.get("/notifications").text
    assert "could not be delivered for three days" in host.get().text
    host.post(f"/notifications/{target.id}/test")
    deliver(host)
    assert "could not be delivered for three days" not in host.get("/notifications").text
    assert "could not be delivered for three days" not in host.get().text


def test_a_foreign_target_is_not_found(mailbox_host: tuple[Mailbox, Host], htmx: bool) -> None:
    """Equal bytes for a target or message that is foreign, absent or malformed (A3)."""
    _, host = mailbox_host
    add(host, OPS)
    [target] = targets(host)
    host.post(f"/notifications/{target.id}/test")
    deliver(host)
    [message] = messages(host.engine)
    host.actor = HARBOUR
    make_client(host.engine, account_id="harbour")
    assert OPS not in host.get("/notifications").text
    absent = "01890000-0000-7000-8000-000000000000"
    paths = [f"/notifications/{{}}{endpoint}" for endpoint in ENDPOINTS]
    for path, own in [*((path, target.id) for path in paths), ("/notifications/messages/{}", message.id)]:
        for send in (host.get, host.post):
            answers = [send(path.format(key), htmx=htmx) for key in (own, absent, "nonsense")]
            assert [answer.status_code for answer in answers] == [404] * 3
            assert len({answer.data for answer in answers}) == 1


def test_a_viewer_changes_nothing(mailbox_host: tuple[Mailbox, Host]) -> None:
    """Viewers get no controls, and their POSTs are refused (A2)."""
    _, host = mailbox_host
    add(host, OPS)
    [target] = targets(host)
    token = host.csrf_token()
    host.actor = replace(NORTHWIND, roles=frozenset({"Auditor"}))
    page = host.get("/notifications")
    assert page.status_code == 200
    assert OPS in page.text
    assert "Remove" not in page.text
    for path in ("/notifications/add/webhook", *(f"/notifications/{target.id}{endpoint}" for endpoint in ENDPOINTS)):
        assert host.get(path).status_code == 403
        assert host.post(path, {"csrf_token": token}, token=False).status_code == 403


@pytest.mark.parametrize("path", ["/notifications/add/webhook", "target", "test", "remove", "secret"])
def test_a_post_without_a_csrf_token_changes_nothing(sqlite_engine: Engine, htmx: bool, path: str) -> None:
    """The same form is shown again (W8, W10)."""
    host = make_notifying_host(sqlite_engine)
    hooks = Webhooks(url="https://hooks.example/")
    add(host, hooks.url)
    before = targets(host)
    if not path.startswith("/"):
        path = f"/notifications/{before[0].id}" + ("" if path == "target" else f"/{path}")
    answer = host.post(path, {"address": "https://other.example/", "kinds": ["client.created"]}, token=False, htmx=htmx)
    assert answer.status_code == 422
    assert "Your session was renewed" in answer.text
    after = targets(host)
    assert [(each.id, each.version, each.removed_at) for each in after] == [
        (each.id, each.version, each.removed_at) for each in before
    ]
    assert messages(host.engine) == []


@pytest.mark.parametrize("minutes", [29, 31])
def test_a_webhooks_secret_needs_a_recent_sign_in(sqlite_engine: Engine, htmx: bool, minutes: int) -> None:
    """To add a webhook, and to change its secret (W5)."""
    host = make_notifying_host(sqlite_engine)
    add(host, "https://hooks.example/")
    [target] = targets(host)
    host.actor = replace(NORTHWIND, signed_in_at=utc_now() - timedelta(minutes=minutes))
    added = add(host, "https://hooks.example/other", htmx=htmx)
    changed = host.post(f"/notifications/{target.id}/secret", {"version": str(target.version)}, htmx=htmx)
    for answer in (added, changed):
        assert answer.status_code == (200 if minutes < 30 else 401)
        assert ("whsec_" in answer.text) is (minutes < 30)
    assert len(targets(host)) == (2 if minutes < 30 else 1)


def test_an_error_in_a_row_of_the_table_opens_as_a_dialog(sqlite_engine: Engine) -> None:
    host = make_notifying_host(sqlite_engine)
    add(host, "https://hooks.example/")
    [target] = targets(host)
    answer = host.client.post(
        f"{PREFIX}/notifications/{target.id}/test", headers={**HTMX, "HX-Target": "div#ic-dialog"}, data={"x": ""}
    )
    assert answer.status_code == 422
    assert answer.text.lstrip().startswith("<dialog")
