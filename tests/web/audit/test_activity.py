"""The audit log on the screens, of the account and of one client."""

import html
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.audit_events import add_events
from tests.support.clients import delete, edit, values_of
from tests.support.factories import ACCOUNT, CATALOGUE, OTHER_ACCOUNT, SECRET, make_client
from tests.support.host import HARBOUR, NORTHWIND, PREFIX, Host, make_host
from tests.support.markup import read
from tests.support.screens import timeline
from tests.support.strategies import hostile
from webapp.core.audit.actions import Action, RefusalReason
from webapp.core.audit.query import ACTIONS, KINDS
from webapp.core.database.models import AuditEvent
from webapp.web.audit.event_labels import ACTION_LABELS, KIND_OF_CHANGE_LABELS, REFUSAL_REASONS, SENTENCES
from webapp.web.audit.event_texts import describe_event
from webapp.web.i18n.times import Times

NOW = datetime(2026, 11, 23, 10, 45, tzinfo=UTC)
TIMES = Times("Europe/London")


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Set the clock to the time that the prototype shows."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def make_event(changes: dict[str, Any], action: str = Action.EDITED, **columns: Any) -> AuditEvent:
    """Return one event with these changes."""
    return AuditEvent(
        **{
            "id": uuid.uuid4(),
            "at": NOW,
            "account_id": ACCOUNT,
            "actor_id": "7",
            "actor_label": "Priya Nair",
            "action": action,
            "client_key": None,
            "client_id": None,
            "changes": changes,
            "address": None,
            "request_id": None,
            **columns,
        }
    )


def sentence_of(host: Host, changes: Any, action: str = Action.EDITED) -> str:
    """Return an event as its page describes it, without its time."""
    add_events(host.engine, {"at": NOW, "actor_label": "Priya Nair", "action": action, "changes": changes})
    [description, *_] = timeline(host.get("/activity").text)
    return description.replace("Today, 10:45 GMT", "").replace("  ", " ").strip()


# In words


DESCRIPTIONS: list[tuple[str, dict[str, Any], str]] = [
    (Action.SETTINGS_CHANGED, {"management_api": [False, True]}, "allowed the management API"),
    (Action.SETTINGS_CHANGED, {"management_api": [True, False]}, "no longer allows the management API"),
    (Action.SETTINGS_CHANGED, {"keys_only": [False, True]}, "forbade secrets to clients that move money"),
    (Action.SETTINGS_CHANGED, {"keys_only": [True, False]}, "allowed secrets to clients that move money again"),
    (Action.SETTINGS_CHANGED, {"strict_assertions": [False, True]}, "let only strict assertions be accepted"),
    (
        Action.SETTINGS_CHANGED,
        {"strict_assertions": [True, False]},
        "let other than strict assertions be accepted again",
    ),
    (Action.SETTINGS_CHANGED, {"other": [None, 1]}, "changed the settings other: 1"),
    (
        Action.NOTIFICATION_TARGET_ADDED,
        {"target": [None, "ops@northwind.example"], "kinds": [None, ["client.created", "later.kind"]]},
        "added an address for notifications Address: ops@northwind.example Messages: A client is created; later.kind",
    ),
    (
        Action.NOTIFICATION_TARGET_CHANGED,
        {"target": [None, "owner"], "kinds": [["client.created"], ["client.deleted"]]},
        "changed the messages to an address Address: Owners of clients"
        " Messages: A client is created → A client is deleted",
    ),
    (
        Action.NOTIFICATION_TARGET_REMOVED,
        {"target": [None, "https://hooks.example/…"]},
        "removed an address for notifications Address: https://hooks.example/…",
    ),
    (
        Action.WEBHOOK_SECRET_CHANGED,
        {"target": [None, "https://hooks.example/…"]},
        "changed the secret of a webhook Address: https://hooks.example/…",
    ),
    (Action.CREATED, {}, "created the client"),
    (
        Action.CREATED,
        {
            "name": [None, "Claims"],
            "description": [None, ""],
            "roles": [None, ["UploadBatches", "MerchantUser"]],
            "enabled": [None, True],
            "client_secret": [None, {"A": "current"}],
        },
        "created the client With these values Client name: Claims Roles: + API access + Upload batches Moves money"
        " Status: Enabled Secret A: created",
    ),
    (Action.CREATED, {"copied_from": [None, "acme"]}, "created the client as a copy of acme"),
    (Action.CREATED, {"copied_from": [None, None]}, "created the client"),
    (Action.EDITED, {"token_duration_minutes": [30, 60]}, "changed the token duration 30 minutes → 60 minutes"),
    (Action.EDITED, {"client_id": ["acme", "acme-2"]}, "changed the client ID acme → acme-2"),
    (Action.EDITED, {"name": ["", "Claims"]}, "changed the client name none → Claims"),
    (Action.EDITED, {"owner": ["Ana", ""]}, "changed the owner Ana → none"),
    (Action.EDITED, {"tags": [["eu", "test"], ["eu", "live"]]}, "changed the tags + live − test"),
    (Action.EDITED, {"description": ["a\nb", ""]}, "changed the description a b → none"),
    (
        Action.EDITED,
        {"roles": [["CreatePayment", "Gone", "ReportViewer"], ["ReportViewer", "UploadBatches"]]},
        "changed the roles + Upload batches Moves money − Create single payments Moves money − Gone"
        " Before: Read reports , Create single payments Moves money , Gone"
        " After: Read reports , Upload batches Moves money",
    ),
    (
        Action.EDITED,
        {"client_secret": [{"A": "current"}, {"A": "ended", "B": "current"}]},
        "changed the secret Secret A: current → ended Secret B: created",
    ),
    (
        Action.EDITED,
        {"enabled": [True, False], "name": ["Old", "New"], "token_duration_minutes": [30, 60]},
        "edited the client Client name: Old → New Token duration: 30 minutes → 60 minutes Status: Enabled → Disabled",
    ),
    (Action.ENABLED, {"enabled": [False, True]}, "enabled the client Disabled → Enabled"),
    (Action.DISABLED, {"enabled": [True, False]}, "disabled the client Enabled → Disabled"),
    (
        Action.DELETED,
        {"client_secret": [{"A": "current", "B": "paused"}, {"A": "ended", "B": "ended"}]},
        "deleted the client Secret A: current → ended Secret B: paused → ended",
    ),
    (
        Action.SECRET_CHANGED,
        {
            "client_secret": [{"A": "current"}, {"A": "ending", "B": "current"}],
            "ends_at": [{"A": None}, {"A": "2026-11-27T10:45:00+00:00"}],
        },
        "changed the secret Secret A: no end date → ends 27 November 2026, 10:45 GMT Secret B: created",
    ),
    (
        Action.SECRET_CHANGED,
        {"client_secret": [{}, {"AA": "current", "Z": "current"}], "reason": [None, "leaked"]},
        "changed the secret Secret Z: created Secret AA: created The secret had leaked.",
    ),
    (
        Action.SECRET_ENDED,
        {"client_secret": [{"A": "ending"}, {"A": "ended"}]},
        "ended a secret Secret A: ending → ended",
    ),
    (
        Action.SECRET_PAUSED,
        {"client_secret": [{"A": "ending"}, {"A": "paused"}]},
        "paused a secret Secret A: ending → paused",
    ),
    (
        Action.SECRET_RESUMED,
        {"client_secret": [{"A": "paused"}, {"A": "current"}]},
        "resumed a secret Secret A: paused → current",
    ),
    (
        Action.END_DATE_SET,
        {
            "client_secret": [{"A": "ending"}, {"A": "current"}],
            "ends_at": [{"A": "2026-07-01T09:00:00+00:00"}, {"A": None}],
        },
        "changed the end date of a secret Secret A: ends 1 July 2026, 10:00 BST → no end date",
    ),
    (
        Action.CLIENT_KEY_ADDED,
        {"public_key": [{}, {"1": "current"}], "thumbprint": [None, "x_y"], "algorithm": [None, "ES256"]},
        "added a key Key 1: created Thumbprint: x_y Algorithm: ES256",
    ),
    (
        Action.CLIENT_KEY_ENDED,
        {"public_key": [{"10": "ending"}, {"10": "ended"}]},
        "ended a key Key 10: ending → ended",
    ),
    (
        Action.CLIENT_KEY_PAUSED,
        {"public_key": [{"1": "current"}, {"1": "paused"}]},
        "paused a key Key 1: current → paused",
    ),
    (
        Action.CLIENT_KEY_RESUMED,
        {"public_key": [{"1": "paused"}, {"1": "ending"}]},
        "resumed a key Key 1: paused → ending",
    ),
    (
        Action.CLIENT_KEY_END_DATE_SET,
        {
            "public_key": [{"1": "current"}, {"1": "ending"}],
            "ends_at": [{"1": None}, {"1": "2026-07-01T09:00:00+00:00"}],
        },
        "changed the end date of a key Key 1: no end date → ends 1 July 2026, 10:00 BST",
    ),
    (
        Action.NETWORKS_CHANGED,
        {"allowed_networks": [["198.51.100.0/24", "192.0.2.1/32"], ["192.0.2.1/32", "203.0.113.0/28 London"]]},
        "changed the allowed addresses + 203.0.113.0/28 London − 198.51.100.0/24",
    ),
    (
        Action.REVIEWED,
        {
            "found": [None, "Still used."],
            "done": [None, ""],
            "reviewed_roles": [None, ["MerchantUser", "Gone"]],
            "reviewed_secrets": [None, {"A": "current"}],
        },
        "reviewed the access of the client Found: Still used."
        " Reviewed roles: API access (MerchantUser); Gone Reviewed secrets and keys: A: current",
    ),
    (Action.TOKENS_REVOKED, {}, "revoked every token issued until then"),
    (Action.SECRET_TESTED, {"issued": [None, True]}, "tested a secret, which gets tokens"),
    (Action.SECRET_TESTED, {"issued": [None, False]}, "tested a secret, which was refused"),
    *(
        (
            Action.REFUSED,
            {"refusal": [None, refusal], "attempt": [None, "edit"]},
            f"tried to edit the client and was refused {description}",
        )
        for refusal, description in REFUSAL_REASONS.items()
    ),
    (Action.EXPORTED, {"filters": [None, {}]}, "exported the activity"),
    (
        Action.EXPORTED,
        {"filters": [None, {"person": "7", "client": "acme", "action": "secret ended", "since": "2026-03-01"}]},
        "exported the activity Person: 7 Client ID: acme Action: Secret ended From: 2026-03-01",
    ),
]


@pytest.mark.parametrize(("action", "changes", "description"), DESCRIPTIONS)
def test_descriptions_of_events(host: Host, action: str, changes: dict[str, Any], description: str) -> None:
    """Each field before and after, roles that move money, secrets by label and state, local times."""
    assert sentence_of(host, changes, action) == f"Priya Nair {description}"


def test_every_action_has_a_description() -> None:
    assert set(SENTENCES) == set(Action)
    assert list(ACTION_LABELS) == list(ACTIONS)
    assert set(KIND_OF_CHANGE_LABELS) == {*KINDS, Action.NETWORKS_CHANGED}
    assert set(REFUSAL_REASONS) == set(RefusalReason)
    assert {action for action, _, _ in DESCRIPTIONS} == set(ACTIONS)


@pytest.mark.parametrize(
    ("action", "changes", "description"),
    [
        ("merged", {}, ": merged"),
        ("merged", {"with": [None, "<b>another</b>"]}, ": merged with: <b>another</b>"),
        (Action.EDITED, {"quota": [5, None]}, "edited the client quota: 5"),
        (Action.EDITED, {"quota": 5}, "edited the client quota: 5"),
        (Action.EDITED, {"name": [1, {"b": 2, "a": None}]}, 'changed the client name 1 → {"a": null, "b": 2}'),
        (Action.EDITED, {"token_duration_minutes": ["30", True]}, "changed the token duration 30 → true"),
        (Action.EDITED, {"enabled": [1, "yes"]}, "edited the client Status: 1 → yes"),
        (Action.EDITED, {"roles": [{}, [1]]}, "changed the roles {} → [1]"),
        (Action.EDITED, {"client_secret": "B"}, "changed the secret B"),
        (Action.EDITED, {"client_secret": [{"A": 1}, ["B"]]}, 'changed the secret {"A": 1} → ["B"]'),
        (Action.EDITED, {"ends_at": [None, {"A": None}]}, 'edited the client End date: {"A": null}'),
        (
            Action.END_DATE_SET,
            {"client_secret": [{"A": "lost"}, {"A": "found"}], "ends_at": [{}, {"A": "soon"}]},
            "changed the end date of a secret Secret A: no end date → soon",
        ),
        (
            Action.END_DATE_SET,
            {"client_secret": [{"A": "lost"}, {"A": "found"}], "ends_at": [{"A": 5}]},
            "changed the end date of a secret Secret A: lost → found",
        ),
        (Action.SECRET_ENDED, {"client_secret": [{"A": "x"}, {}], "reason": "why"}, "ended a secret Secret A: x why"),
        (Action.REFUSED, {}, "tried to use “” and was refused"),
        (
            Action.REFUSED,
            {"refusal": [None, ["a"]], "attempt": [None, "fly"]},
            'tried to use “fly” and was refused ["a"]',
        ),
        (Action.EXPORTED, {"filters": "all"}, "exported the activity filters: all"),
        (Action.EXPORTED, {"filters": [None, {"action": "merged", "page": 2}]},
         "exported the activity Action: merged page: 2"),
    ],
)  # fmt: skip
def test_unknown_actions_and_fields_are_shown_as_stored(
    host: Host, action: str, changes: dict[str, Any], description: str
) -> None:
    """Events outlive the code that wrote them."""
    assert sentence_of(host, changes, action) == f"Priya Nair {description}".replace("Nair :", "Nair:")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["A", "current", "2026-03-01"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=8,
)
FIELDS = ["roles", "client_secret", "ends_at", "enabled", "name", "filters", "refusal", "attempt", "reason", "other"]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*Action, "merged"]), json_values | st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_no_event_breaks_the_page(action: str, changes: Any) -> None:
    """Any stored value can be described, and no description mentions a secret that the event lacks."""
    one = describe_event(make_event(changes, action), times=TIMES, catalogue=CATALOGUE)
    assert str(one.sentence) % one.variables
    assert isinstance(one.note, str)
    for change in one.changes:
        assert all(isinstance(description, str | None) for description in (change.label, change.before, change.after))


def test_who_when_and_from_where(host: Host) -> None:
    """Local time with zone, UTC in the markup, address and request id (L1)."""
    add_events(
        host.engine,
        {
            "at": datetime(2026, 8, 12, 13, 3, tzinfo=UTC),
            "actor_label": "Tom Reilly",
            "address": "2001:db8::1",
            "request_id": "abc-1",
            "changes": {"name": ["a", "b"]},
        },
    )
    text = host.get("/activity").text
    assert timeline(text) == [
        "Tom Reilly changed the client name 12 August 2026, 14:03 BST a → b From 2001:db8::1 · request abc-1"
    ]
    assert '<time class="ic-hint" datetime="2026-08-12T13:03:00Z">' in text


def test_values_in_an_event_are_escaped(host: Host) -> None:
    """Names, values, actions and fields are text (W17)."""
    hostile_text = '"><img src=x onerror=z>'
    client = make_client(host.engine, client_id=hostile_text)
    add_events(
        host.engine,
        {
            "actor_id": hostile_text,
            "actor_label": hostile_text,
            "action": hostile_text[:40],
            "client_key": client.id,
            "client_id": client.client_id,
            "changes": {
                hostile_text: [hostile_text, hostile_text],
                "roles": [[hostile_text], []],
                "reason": [None, hostile_text],
            },
            "request_id": hostile_text,
        },
    )
    for path in ("/activity", f"/activity?person={hostile_text}", f"/{client.id}/activity", f"/{client.id}"):
        for htmx in (False, True):
            text = host.get(path, htmx=htmx).text
            assert "<img" not in text
            assert "&lt;img" in text


# The page of a client


def test_the_page_of_a_client_shows_its_latest_events(host: Host) -> None:
    """A timeline, the newest first, and a link to all events."""
    client = make_client(host.engine, client_id="acme-claims")
    assert timeline(host.get(f"/{client.id}").text)[0].startswith("admin@northwind.example created the client")
    add_events(
        host.engine,
        *(
            {"at": NOW + timedelta(seconds=number), "client_key": client.id, "changes": {"name": ["", str(number)]}}
            for number in range(12)
        ),
    )
    text = host.get(f"/{client.id}").text
    assert [line.split("→ ")[1].split()[0] for line in timeline(text)] == [str(number) for number in range(11, 1, -1)]
    assert f'<a href="{PREFIX}/{client.id}/activity">See all activity</a>' in text
    assert f'<a href="{PREFIX}/activity.csv?key={client.id}">Download CSV</a>' in text


def test_the_activity_of_a_client(host: Host) -> None:
    client, other = make_client(host.engine, client_id="acme-claims"), make_client(host.engine, client_id="acme-other")
    edit(host.engine, client, values=values_of(client, name="New"))
    page = host.get(f"/{client.id}/activity")
    assert [line.split()[1] for line in timeline(page.text)] == ["changed", "created"]
    assert "acme-other" not in page.text
    assert f'href="{PREFIX}/{client.id}"' in page.text
    assert timeline(host.get(f"/{client.id}/activity?action=created").text) == timeline(page.text)[1:]
    fragment = host.get(f"/{other.id}/activity", htmx=True).text
    assert "<html" not in fragment
    assert len(timeline(fragment)) == 1


def test_the_activity_of_a_deleted_client_stays(host: Host) -> None:
    """The client leaves the list; its audit log stays, and the account's activity links to it."""
    client = make_client(host.engine, client_id="acme-claims")
    delete(host.engine, client)
    assert host.get(f"/{client.id}").status_code == 410
    account = host.get("/activity").text
    assert f'<a class="ic-mono" href="{PREFIX}/{client.id}/activity">acme-claims</a>' in account
    page = host.get(f"/{client.id}/activity")
    assert page.status_code == 200
    assert [line.split()[1] for line in timeline(page.text)] == ["deleted", "created"]
    assert "This client is deleted" in page.text
    assert f'href="{PREFIX}/{client.id}"' not in page.text
    host.actor = HARBOUR
    assert host.get(f"/{client.id}/activity").status_code == 404


# The activity of the account


@pytest.fixture
def account(host: Host) -> Host:
    """Return a host where two people changed two clients on two days, and another account has events too."""
    first = make_client(host.engine, client_id="acme-claims")
    second = make_client(host.engine, client_id="other_path")
    make_client(host.engine, account_id=OTHER_ACCOUNT, client_id="acme-foreign")
    add_events(
        host.engine,
        {"at": NOW - timedelta(days=1), "actor_id": "7", "actor_label": "Priya Nair", "client_key": first.id,
         "client_id": "acme-claims", "changes": {"name": ["", "one"]}},
        {"at": NOW - timedelta(days=2), "actor_id": "7", "actor_label": "Priya Nair", "action": "disabled",
         "client_key": second.id, "client_id": "other_path", "changes": {"enabled": [True, False]}},
    )  # fmt: skip
    return host


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["created", "created", "changed", "disabled"]),
        ("?person=7", ["changed", "disabled"]),
        ("?client=ACME", ["created", "changed"]),
        ("?client=_path", ["created", "disabled"]),
        ("?action=disabled", ["disabled"]),
        ("?since=2026-11-22", ["created", "created", "changed"]),
        ("?until=2026-11-21", ["disabled"]),
        ("?person=7&client=acme&since=2026-11-22&until=2026-11-22&action=edited", ["changed"]),
        ("?client=foreign", []),
        ("?person=7&action=created", []),
        ("?since=tomorrow&action=nothing&after=xxx", ["created", "created", "changed", "disabled"]),
    ],
)
def test_filters(account: Host, query: str, found: list[str]) -> None:
    """By person, client, action and dates; a bad value is ignored, and other accounts' events never match (I4, A3)."""
    for htmx in (False, True):
        text = account.get(f"/activity{query}", htmx=htmx).text
        if found:
            assert [
                line.split("northwind.example ")[-1].split("Nair ")[-1].split()[0] for line in timeline(text)
            ] == found
        else:
            assert "Nothing to show" in text
        assert "foreign</a>" not in text


def test_filters_and_links_keep_the_query(account: Host) -> None:
    query = "?person=7&client=a&action=edited&since=2026-11-01&until=2026-11-30"
    text = account.get(f"/activity{query}").text
    assert '<option value="7" selected>Priya Nair</option>' in text
    assert '<option value="edited" selected>Edited</option>' in text
    assert (read(text).value("client"), read(text).value("since")) == ("a", "2026-11-01")
    href = f"{PREFIX}/activity.csv{query}"
    assert f'<a href="{html.escape(href)}">Download CSV</a>' in text


def test_pages_go_to_older_and_back(host: Host) -> None:
    add_events(
        host.engine,
        *({"at": NOW + timedelta(seconds=number), "changes": {"name": ["", f"n{number}"]}} for number in range(120)),
    )

    def names(text: str) -> list[str]:
        return [line.split("→ ")[1] for line in timeline(text)]

    def page_at(text: str, rel: str) -> str:
        found = re.search(rf'href="{re.escape(PREFIX)}([^"]*)" rel="{rel}"', text)
        assert found
        return host.get(html.unescape(found[1])).text

    first = host.get("/activity?action=edited").text
    second = page_at(first, "next")
    third = page_at(second, "next")
    assert names(first) + names(second) + names(third) == [f"n{number}" for number in range(119, -1, -1)]
    assert 'rel="next"' not in third
    assert 'rel="prev"' not in first
    assert names(page_at(third, "prev")) == names(second)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["person", "client", "action", "since", "until", "after", "before"]), hostile))
def test_any_query_string_gets_a_page(account: Host, arguments: dict[str, Any]) -> None:
    """Never 500, and never another account's event (I4)."""
    query = {name: value.encode("utf-8", "surrogatepass") for name, value in arguments.items()}
    page = account.get("/activity", query_string=query)
    assert page.status_code == 200
    assert "acme-foreign" not in page.text


def test_viewers_see_the_audit_log_without_actions(host: Host) -> None:
    """Roles named by a setting may read; their pages have no control that changes anything (A2)."""
    client = make_client(host.engine, client_id="acme-claims")
    viewing = make_host(host.engine, viewer_roles=("Auditor",))
    viewing.actor = replace(NORTHWIND, roles=frozenset({"Auditor"}))
    for path in ("", f"/{client.id}", f"/{client.id}/activity", "/activity", "/activity.csv", f"/{client.id}/menu"):
        page = viewing.get(path)
        assert page.status_code == 200, path
        assert "acme-claims" in page.text
        assert 'method="post"' not in page.text
        for verb in ("new", "edit", "enable", "disable", "delete", "secret", "leaked", "networks/edit"):
            assert f"/{verb}" not in page.text.replace("/new/", ""), (path, verb)
    host.actor = viewing.actor
    assert host.get("/activity").status_code == 403


def test_no_secret_is_in_the_activity(host: Host) -> None:
    """No page of the audit log contains a secret (L4, S6)."""
    client = make_client(host.engine)
    edit(host.engine, client, secret="a typed secret")
    for path in ("/activity", f"/{client.id}", f"/{client.id}/activity", "/activity.csv"):
        text = host.get(path).text
        for hidden in (SECRET, "a typed secret", "argon2"):
            assert hidden not in text
