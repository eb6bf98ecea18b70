"""Rotation: the next secret, the end of the old one, and never a client without a live secret (S6-S8)."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from sqlalchemy import Engine, event, select, text

from tests.support.clients import stored
from tests.support.concurrency import run_concurrently
from tests.support.factories import ACCOUNT, HASHER, OTHER_ACCOUNT, SECRET, make_author, make_client, make_rate_limits
from tests.support.secrets import NEXT, apply, change, end, leak, pause, resume, set_end
from webapp.core.authentication.authenticator import AuthenticationFailed, Authenticator
from webapp.core.client_changes import StaleVersion
from webapp.core.database.fast_reads import FastReads
from webapp.core.database.models import AuditEvent, ClientSecret, IdentityClient, utc_now
from webapp.core.database.outcomes import AuthenticationFailure
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import FieldError, NotFound
from webapp.core.secrets.available_actions import SecretAction, available_actions
from webapp.core.secrets.client_secrets import not_ended
from webapp.core.secrets.errors import (
    LastLiveSecret,
    LastSecretWouldEnd,
    SecretHasEnded,
    SecretRecentlyUsed,
    TwoActiveSecrets,
)
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.service import Overlap

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the clock at noon."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def with_secrets(engine: Engine, **columns: dict[str, Any]) -> IdentityClient:
    """Return a client with these secrets, each with these columns set."""
    client = make_client(engine)
    with unit_of_work(engine) as session:
        template = session.scalars(select(ClientSecret).where(ClientSecret.client_key == client.id)).one()
        for label, values in columns.items():
            secret = template if label == "A" else ClientSecret(label=label, client_key=client.id)
            for column in ("secret_hash", "pepper_version", "created_at", "created_by"):
                setattr(secret, column, getattr(template, column))
            for column, value in values.items():
                setattr(secret, column, value)
            session.add(secret)
    return stored(engine, client.id)


def states(engine: Engine, client: IdentityClient) -> dict[str, str]:
    """Return the state of each secret now."""
    return {secret.label: secret.state_at(utc_now()).value for secret in stored(engine, client.id).secrets}


def ends(engine: Engine, client: IdentityClient) -> dict[str, datetime | None]:
    """Return the end date of each secret."""
    return {secret.label: secret.ends_at for secret in stored(engine, client.id).secrets}


def events(engine: Engine, client: IdentityClient) -> list[tuple[str, dict[str, Any]]]:
    """Return action and changes of a client's events after its creation."""
    with read_session(engine) as session:
        rows = session.scalars(
            select(AuditEvent).where(AuditEvent.client_key == client.id).order_by(AuditEvent.at, AuditEvent.id)
        )
        return [(row.action, row.changes) for row in rows][1:]


def refusal(authenticator: Authenticator, client: IdentityClient, secret: str) -> AuthenticationFailure | None:
    """Authenticate the client, and return why it is refused, or None."""
    try:
        authenticator.authenticate(client.client_id, Secret(secret), address="192.0.2.1", now=utc_now())
    except AuthenticationFailed as refused:
        return refused.reason
    return None


# Change secret


@pytest.mark.parametrize(
    ("overlap", "later"), [(Overlap.NOW, 0 * HOUR), (Overlap.HOUR, HOUR), (Overlap.DAY, DAY), (Overlap.WEEK, 7 * DAY)]
)
def test_the_old_secret_ends_after_the_chosen_overlap(
    engine: Engine, clock: time_machine.Traveller, overlap: Overlap, later: timedelta
) -> None:
    """Now, in 1 hour, in 24 hours or in 7 days; the event contains both secrets and the end date (S8, L1)."""
    client = make_client(engine)
    changed, added = change(engine, client, overlap=overlap, author=make_author(label="Hannah Okafor"))
    assert (added.label, added.created_at, added.created_by) == ("B", NOON, "Hannah Okafor")
    assert (changed.version, changed.updated_by, changed.updated_at) == (2, "Hannah Okafor", NOON)
    assert ends(engine, client) == {"A": NOON + later, "B": None}
    assert states(engine, client) == {"A": "ending" if later else "ended", "B": "current"}
    changes: dict[str, Any] = {"client_secret": [{"A": "current"}, states(engine, client)]}
    if later:
        changes["ends_at"] = [{"A": None}, {"A": (NOON + later).isoformat()}]
    assert events(engine, client) == [("secret changed", changes)]


@pytest.mark.parametrize("revoke", [False, True])
def test_a_change_can_revoke_the_tokens_as_well(engine: Engine, revoke: bool) -> None:
    """The tokens that the client got before become inactive (T13)."""
    client = make_client(engine)
    change(engine, client, revoke_tokens=revoke)
    assert stored(engine, client.id).token_generation == int(revoke)
    assert [action for action, _ in events(engine, client)] == [
        "secret changed",
        *(["tokens revoked"] if revoke else []),
    ]


def test_a_secret_verifies_until_its_end_date(engine: Engine, clock: time_machine.Traveller) -> None:
    """At -1 s, 0 s and +1 s, even if it was verified a second ago (S8, S9)."""
    client = make_client(engine)
    change(engine, client, overlap=Overlap.HOUR)
    authenticator = Authenticator(engine, FastReads(engine), HASHER, make_rate_limits())
    for moment, answer in (
        (-SECOND, None),
        (0 * SECOND, AuthenticationFailure.ENDED_SECRET),
        (SECOND, AuthenticationFailure.ENDED_SECRET),
    ):
        clock.move_to(NOON + HOUR + moment)
        assert refusal(authenticator, client, SECRET) is answer, moment
        assert refusal(authenticator, client, NEXT) is None, moment


def test_a_third_secret_needs_the_end_of_the_first(engine: Engine, clock: time_machine.Traveller) -> None:
    """At most two secrets have not ended, and a paused one counts (S7)."""
    client, _ = change(engine, make_client(engine))
    client = pause(engine, client, "A")
    with pytest.raises(TwoActiveSecrets) as caught:
        change(engine, client, "a third secret for it")
    assert (caught.value.secret.label, caught.value.client.version) == ("A", 3)
    assert [secret.label for secret in not_ended(caught.value.client, NOON)] == ["A", "B"]
    assert stored(engine, client.id).version == 3
    change(engine, client, "a third secret for it", end_older=True, overlap=Overlap.WEEK)
    assert states(engine, client) == {"A": "ended", "B": "ending", "C": "current"}
    assert ends(engine, client) == {"A": NOON, "B": NOON + 7 * DAY, "C": None}
    clock.shift(7 * DAY)
    change(engine, stored(engine, client.id), "a fourth secret for it")
    assert states(engine, client) == {"A": "ended", "B": "ended", "C": "ending", "D": "current"}


def test_a_repeated_rotation_sets_no_secret_and_shows_none(engine: Engine) -> None:
    """A repeated rotation has a stale version (S7)."""
    client = make_client(engine)
    change(engine, client)
    for again in (change, leak):
        with pytest.raises(StaleVersion) as caught:
            again(engine, client)
        assert [secret.label for secret in caught.value.current.secrets] == ["A", "B"]
    assert states(engine, client).keys() == {"A", "B"}
    assert len(events(engine, client)) == 1


def test_of_5_rotations_of_one_version_one_succeeds(engine: Engine) -> None:
    """One new secret; the others get a stale version (S7)."""
    client = make_client(engine)
    HASHER.hash(Secret(NEXT))
    outcomes = run_concurrently([partial(change, engine, client)] * 5)
    assert Counter(type(outcome) for outcome in outcomes) == {tuple: 1, StaleVersion: 4}
    assert states(engine, client) == {"A": "ending", "B": "current"}
    assert len(events(engine, client)) == 1


@pytest.mark.parametrize(
    ("secret", "refuse_weak"), [("12345", False), ("é" * 10, False), ("", False), ("aaaaaa", True), (SECRET, False)]
)
def test_an_invalid_secret_changes_nothing(engine: Engine, secret: str, refuse_weak: bool) -> None:
    """The rules of every secret apply, and the new one must differ (S4)."""
    client = make_client(engine)
    with pytest.raises(FieldError) as caught:
        change(engine, client, secret, refuse_weak=refuse_weak)
    assert caught.value.field == "client_secret"
    assert secret not in caught.value.message or not secret
    assert states(engine, client) == {"A": "current"}
    assert stored(engine, client.id).version == 1


# A leak


def test_a_leak_ends_every_secret_revokes_all_tokens_and_sets_a_new_secret(
    engine: Engine, clock: time_machine.Traveller
) -> None:
    """One call, one event for each part."""
    client, _ = change(engine, make_client(engine))
    client = pause(engine, client, "A")
    client, newest = leak(engine, client)
    assert states(engine, client) == {"A": "ended", "B": "ended", "C": "current"}
    assert stored(engine, client.id).token_generation == 1
    authenticator = Authenticator(engine, FastReads(engine), HASHER, make_rate_limits())
    assert refusal(authenticator, client, SECRET) is not None
    assert refusal(authenticator, client, NEXT) is AuthenticationFailure.ENDED_SECRET
    assert refusal(authenticator, client, newest.reveal()) is None
    reason = {"reason": [None, "leaked"]}
    assert events(engine, client)[2:] == [
        ("secret ended", {"client_secret": [{"A": "paused"}, {"A": "ended"}], **reason}),
        ("secret ended", {"client_secret": [{"B": "current"}, {"B": "ended"}], **reason}),
        ("tokens revoked", {}),
        ("secret changed", {"client_secret": [{}, {"C": "current"}], **reason}),
    ]


# One secret


def test_end_pause_resume_and_end_date(engine: Engine, clock: time_machine.Traveller) -> None:
    """Each writes its state and its event; repeating it writes nothing, with any version (I7, L1)."""
    client, _ = change(engine, make_client(engine))
    moment = NOON + 2 * DAY
    for function, overrides, state, action, moved in (
        (pause, {}, "paused", "secret paused", None),
        (set_end, {"ends_at": moment}, "paused", "end date set", [NOON + DAY, moment]),
        (resume, {}, "ending", "secret resumed", None),
        (set_end, {"ends_at": None}, "current", "end date set", [moment, None]),
        (end, {}, "ended", "secret ended", None),
    ):
        before = states(engine, client)["A"]
        client = function(engine, client, "A", **overrides)
        assert states(engine, client) == {"A": state, "B": "current"}
        changes: dict[str, Any] = {"client_secret": [{"A": before}, {"A": state}]}
        if moved:
            changes["ends_at"] = [{"A": end and end.isoformat()} for end in moved]
        assert events(engine, client)[-1] == (action, changes)
        count = len(events(engine, client))
        again = function(engine, client, "A", **(overrides | {"version": None}))
        assert (again.version, len(events(engine, client))) == (client.version, count)


@pytest.mark.parametrize("function", [pause, resume, set_end])
def test_nothing_brings_an_ended_secret_back(
    engine: Engine, clock: time_machine.Traveller, function: Callable[..., Any]
) -> None:
    """A paused secret whose end passes cannot be resumed, and no request with it succeeds (S8)."""
    client, _ = change(engine, make_client(engine), overlap=Overlap.HOUR)
    client = pause(engine, client, "A")
    authenticator = Authenticator(engine, FastReads(engine), HASHER, make_rate_limits())
    assert refusal(authenticator, client, SECRET) is AuthenticationFailure.PAUSED_SECRET
    clock.shift(HOUR)
    with pytest.raises(SecretHasEnded) as caught:
        function(engine, client, "A")
    assert caught.value.secret.label == "A"
    assert refusal(authenticator, client, SECRET) is AuthenticationFailure.ENDED_SECRET
    assert ends(engine, client) == {"A": NOON + HOUR, "B": None}


@pytest.mark.parametrize(("function", "overrides"), [(resume, {}), (set_end, {"ends_at": NOON + HOUR})])
def test_an_action_on_an_ended_secret_is_refused_though_it_would_change_nothing(
    engine: Engine, clock: time_machine.Traveller, function: Callable[..., Any], overrides: dict[str, Any]
) -> None:
    """It was never paused, and it ended at the date that is asked for (S8)."""
    client, _ = change(engine, make_client(engine), overlap=Overlap.HOUR)
    clock.shift(HOUR)
    with pytest.raises(SecretHasEnded):
        function(engine, client, "A", **overrides)


def test_resuming_never_moves_the_end(engine: Engine, clock: time_machine.Traveller) -> None:
    """Resuming a paused secret keeps its end date (S8)."""
    client, _ = change(engine, make_client(engine), overlap=Overlap.HOUR)
    client = pause(engine, client, "A")
    clock.shift(HOUR - SECOND)
    client = resume(engine, client, "A")
    authenticator = Authenticator(engine, FastReads(engine), HASHER, make_rate_limits())
    assert refusal(authenticator, client, SECRET) is None
    clock.shift(SECOND)
    assert refusal(authenticator, client, SECRET) is AuthenticationFailure.ENDED_SECRET


@pytest.mark.parametrize(
    ("later", "accepted"),
    [(-SECOND, False), (0 * SECOND, False), (SECOND, True), (365 * DAY, True), (365 * DAY + SECOND, False)],
)
def test_an_end_date_is_in_the_future_and_within_a_year(
    engine: Engine, clock: time_machine.Traveller, later: timedelta, accepted: bool
) -> None:
    """At most 365 days ahead (S8)."""
    client, _ = change(engine, make_client(engine))
    if accepted:
        set_end(engine, client, "A", ends_at=NOON + later)
    else:
        with pytest.raises(FieldError) as caught:
            set_end(engine, client, "A", ends_at=NOON + later)
        assert caught.value.field == "ends_at"
    assert ends(engine, client)["A"] == (NOON + later if accepted else NOON + DAY)


PAUSED = {"paused_at": NOON}
ENDED = {"ends_at": NOON}
ENDING = {"ends_at": NOON + DAY}


@pytest.mark.parametrize(
    ("secrets", "refused"),
    [
        ({"A": {}}, {"A"}),
        ({"A": ENDING}, {"A"}),
        ({"A": {}, "B": {}}, set()),
        ({"A": ENDING, "B": {}}, set()),
        ({"A": PAUSED, "B": {}}, {"B"}),
        ({"A": PAUSED, "B": ENDING}, {"B"}),
        ({"A": ENDED, "B": {}}, {"B"}),
        ({"A": ENDED, "B": {}, "C": {}}, set()),
    ],
)
def test_the_last_live_secret_can_be_neither_ended_nor_paused(
    engine: Engine, clock: time_machine.Traveller, secrets: dict[str, dict[str, Any]], refused: set[str]
) -> None:
    """The screen shows the reason beforehand (S7)."""
    client = with_secrets(engine, **secrets)
    for control in available_actions(client, NOON):
        label = control.secret.label
        for function, action in ((end, SecretAction.END), (pause, SecretAction.PAUSE)):
            if label in refused:
                with pytest.raises(LastLiveSecret):
                    function(engine, client, label, confirmed=True)
                assert "only secret or key that works" in (control.actions[action] or "")
            else:
                assert control.actions.get(action) is None
    assert stored(engine, client.id).version == client.version


def test_available_actions_follow_from_the_state(clock: time_machine.Traveller) -> None:
    states = {"A": ENDED, "B": PAUSED, "C": ENDING, "D": {}}
    client = IdentityClient(
        secrets=[ClientSecret(label=label, created_at=NOON, **columns) for label, columns in states.items()][::-1]
    )
    assert [(control.secret.label, control.state, *control.actions) for control in available_actions(client, NOON)] == [
        ("A", "ended"),
        ("B", "paused", "resume", "end", "end-date"),
        ("C", "ending", "pause", "end", "end-date"),
        ("D", "current", "pause", "end", "end-date"),
    ]


@pytest.mark.parametrize("functions", [(end, end), (pause, pause), (end, pause)])
def test_two_concurrent_requests_leave_one_live_secret(
    engine: Engine, functions: tuple[Callable[..., Any], Callable[..., Any]]
) -> None:
    """Each request takes one of two secrets, and one of them has a stale version (S7)."""
    client, _ = change(engine, make_client(engine), overlap=Overlap.WEEK)
    first, second = functions
    outcomes = run_concurrently(
        [partial(first, engine, client, "A"), partial(second, engine, client, "B", confirmed=True)],
    )
    assert Counter(type(outcome) for outcome in outcomes) == {IdentityClient: 1, StaleVersion: 1}
    assert len({"current", "ending"} & set(states(engine, client).values())) == 1
    with pytest.raises(LastLiveSecret):
        first(engine, stored(engine, client.id), "A" if "A" in live(engine, client) else "B", confirmed=True)


def live(engine: Engine, client: IdentityClient) -> set[str]:
    """Return the labels of the live secrets."""
    return {label for label, state in states(engine, client).items() if state in ("current", "ending")}


# Confirmations


@pytest.mark.parametrize(
    ("columns", "asked"),
    [
        ({"last_used_at": NOON - HOUR + SECOND}, True),
        ({"last_used_at": NOON}, True),
        ({"last_used_at": NOON - HOUR}, False),
        ({}, False),
        ({"last_used_at": NOON, **PAUSED}, False),
    ],
)
def test_ending_a_secret_in_use_needs_confirmation(
    engine: Engine, clock: time_machine.Traveller, columns: dict[str, Any], asked: bool
) -> None:
    """The error says when and from where it was used; pausing needs no confirmation, since it can be undone."""
    client = with_secrets(engine, A={"last_used_address": "203.0.113.7", **columns}, B={})
    if asked:
        with pytest.raises(SecretRecentlyUsed) as caught:
            end(engine, client, "A")
        assert (caught.value.at, caught.value.address) == (columns["last_used_at"], "203.0.113.7")
        assert stored(engine, client.id).version == 1
        pause(engine, client, "A")
        client = resume(engine, stored(engine, client.id), "A")
        end(engine, client, "A", confirmed=True)
    else:
        end(engine, client, "A")
    assert states(engine, client) == {"A": "ended", "B": "current"}


FAR = {"ends_at": NOON + 30 * DAY}


@pytest.mark.parametrize(
    ("secrets", "function", "label", "overrides", "last"),
    [
        ({"A": {}}, set_end, "A", {}, ("A", NOON + DAY)),
        ({"A": {}, "B": {}}, set_end, "A", {}, None),
        ({"A": {}, "B": PAUSED}, set_end, "A", {}, ("A", NOON + DAY)),
        ({"A": {}, "B": PAUSED}, set_end, "B", {}, None),
        ({"A": FAR, "B": PAUSED}, set_end, "B", {"ends_at": NOON + 60 * DAY}, None),
        ({"A": FAR, "B": {}}, set_end, "B", {}, ("A", NOON + 30 * DAY)),
        ({"A": FAR}, set_end, "A", {"ends_at": None}, None),
        ({"A": FAR, "B": {}}, end, "B", {}, ("A", NOON + 30 * DAY)),
        ({"A": FAR, "B": {}}, pause, "B", {}, ("A", NOON + 30 * DAY)),
        ({"A": FAR, "B": {}}, pause, "A", {}, None),
        ({"A": FAR, "B": ENDING}, end, "B", {}, None),
        ({"A": FAR, "B": PAUSED}, end, "B", {}, None),
    ],
)
def test_leaving_only_an_ending_secret_needs_confirmation(
    engine: Engine,
    clock: time_machine.Traveller,
    secrets: dict[str, dict[str, Any]],
    function: Callable[..., IdentityClient],
    label: str,
    overrides: dict[str, Any],
    last: tuple[str, datetime] | None,
) -> None:
    """The last live secret gets an end date only after a warning, in whichever way it becomes the last (S8)."""
    client = with_secrets(engine, **secrets)
    if last:
        with pytest.raises(LastSecretWouldEnd) as caught:
            function(engine, client, label, **overrides)
        assert (caught.value.secret.label, caught.value.ends_at) == last
        assert stored(engine, client.id).version == 1
    assert function(engine, client, label, confirmed=True, **overrides).version == 2
    if not last:
        assert function(engine, with_secrets(engine, **secrets), label, **overrides).version == 2


# Other accounts, and stored values


@pytest.mark.parametrize("version", [None, 0, 1, 3])
def test_a_stale_or_missing_version_changes_nothing(
    engine: Engine, clock: time_machine.Traveller, version: int | None
) -> None:
    """The call raises a stale version and writes nothing (I7)."""
    client, _ = change(engine, make_client(engine))
    client = stored(engine, client.id)
    for call in (
        partial(change, engine, client, end_older=True),
        partial(leak, engine, client),
        partial(end, engine, client, "A"),
        partial(pause, engine, client, "A"),
        partial(set_end, engine, client, "A", ends_at=None),
    ):
        with pytest.raises(StaleVersion) as caught:
            call(version=version)
        assert caught.value.current.version == 2
    assert states(engine, client) == {"A": "ending", "B": "current"}


def test_foreign_clients_and_secrets_are_not_found(engine: Engine) -> None:
    """With the same number of statements as absent ones, and before any other check (A3)."""
    own = make_client(engine)
    foreign = make_client(engine, account_id=OTHER_ACCOUNT)
    deleted = make_client(engine, deleted_at=utc_now())
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    counts: dict[str, set[int]] = {"client": set(), "secret": set()}
    secret_id = foreign.secrets[0].id
    for what, key, found in (
        ("client", foreign.id, secret_id),
        ("client", deleted.id, deleted.secrets[0].id),
        ("client", uuid.uuid4(), uuid.uuid4()),
        ("secret", own.id, secret_id),
        ("secret", own.id, uuid.uuid4()),
    ):
        statements.clear()
        for action in SecretAction:
            with pytest.raises(NotFound):
                apply(action, engine, own, "A", key=key, secret_id=found, version=None)
        if what == "client":
            with pytest.raises(NotFound):
                change(engine, own, secret="", key=key, version=None)
            with pytest.raises(NotFound):
                leak(engine, own, key=key, version=None)
        counts[what].add(len([statement for statement in statements if statement.startswith("SELECT")]))
    assert counts == {"client": {6}, "secret": {8}}
    assert states(engine, own) == {"A": "current"}
    with read_session(engine) as session:
        assert session.scalars(select(ClientSecret.ends_at)).all() == [None] * 3


def test_a_change_whose_event_fails_does_not_happen(engine: Engine, clock: time_machine.Traveller) -> None:
    """If the event cannot be written, the change is rolled back (L1)."""
    client, _ = change(engine, make_client(engine))
    client = stored(engine, client.id)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE identity_client_events RENAME TO elsewhere"))
    for call in (
        partial(change, engine, client, "yet another secret", end_older=True),
        partial(leak, engine, client),
        partial(end, engine, client, "A"),
        partial(pause, engine, client, "A"),
        partial(set_end, engine, client, "A", ends_at=None),
    ):
        with pytest.raises(Exception, match="identity_client_events"):
            call()
    kept = stored(engine, client.id)
    assert (kept.version, kept.token_generation) == (2, 0)
    assert ends(engine, client) == {"A": NOON + DAY, "B": None}


def test_no_secret_and_no_hash_is_stored_elsewhere(engine: Engine) -> None:
    """Neither is in any table but the column of hashes (S6, L4)."""
    client, _ = change(engine, make_client(engine))
    client, newest = leak(engine, stored(engine, client.id))
    hashes = [str(secret.secret_hash) for secret in stored(engine, client.id).secrets]
    with engine.connect() as connection:
        events = str(connection.execute(text("SELECT * FROM identity_client_events")).all())
        rows = str(connection.execute(text("SELECT * FROM identity_client_secrets")).all())
    for hidden in (SECRET, NEXT, newest.reveal()):
        assert hidden not in events + rows
    for hidden in ("argon2", *hashes):
        assert hidden not in events
    assert ACCOUNT in events
