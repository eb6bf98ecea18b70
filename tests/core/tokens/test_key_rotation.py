"""When each key signs, is published and is removed: by schedule, by command and in an emergency (T8)."""

import base64
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import time_machine
from sqlalchemy import Engine, select, update

from tests.support.endpoint import AUDIENCE, ISSUER, Endpoint, add_api
from tests.support.factories import make_client
from webapp.core.database.engine import make_engine
from webapp.core.database.models import AuditEvent, StoredSigningKey
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import NotFound, SigningKeyUnusable, Unavailable
from webapp.core.tokens.access_tokens import AccessTokens
from webapp.core.tokens.signing import CLOCK_SKEW
from webapp.core.tokens.signing_keys import PUBLISHED_AFTER_SIGNING, SCHEDULE, KeyState, SigningKeys
from webapp.settings import SettingsError

ENCRYPTION_KEY = b"k" * 32
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
PUBLICATION, ROTATION = DAY, 90 * DAY
TOKENS = AccessTokens(ISSUER, AUDIENCE)


@pytest.fixture(autouse=True)
def _every_process_reads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the cache of keys: its one second of real time would be days of the tests' clock."""
    monkeypatch.setattr("webapp.core.tokens.signing_keys.RELOAD_SECONDS", 0)


def make_ring(engine: Engine, **periods: timedelta) -> SigningKeys:
    return SigningKeys(engine, [ENCRYPTION_KEY], **periods)


def published(ring: SigningKeys, now: datetime) -> set[str]:
    return {key.kid for key in ring.published(now)}


def states(ring: SigningKeys, now: datetime) -> dict[str, KeyState]:
    return {key.kid: state for key, state in ring.states(now)}


def events(engine: Engine) -> list[tuple[str | None, str, str, dict[str, Any]]]:
    with read_session(engine) as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    return [(row.account_id, row.actor_label, row.action, row.changes) for row in rows]


def test_the_schedule_of_a_key(engine: Engine) -> None:
    """Created a day before it signs, it signs for 90 days and stays published for 65 minutes more (T8)."""
    ring = make_ring(engine)
    first = ring.signing_key(NOW).kid
    begins = NOW - CLOCK_SKEW  # the reference for the first key
    due = begins + ROTATION - PUBLICATION
    assert ring.signing_key(due - SECOND).kid == first
    assert published(ring, due - SECOND) == {first}
    assert ring.signing_key(due).kid == first
    (second,) = published(ring, due) - {first}
    takes_over = due + PUBLICATION
    assert ring.signing_key(takes_over - SECOND).kid == first
    assert ring.signing_key(takes_over).kid == second
    assert timedelta(minutes=65) <= PUBLISHED_AFTER_SIGNING <= timedelta(minutes=75)
    assert published(ring, takes_over + PUBLISHED_AFTER_SIGNING - SECOND) == {first, second}
    assert published(ring, takes_over + PUBLISHED_AFTER_SIGNING) == {second}
    assert ring.signing_key(takes_over + ROTATION - PUBLICATION).kid == second
    assert ring.signing_key(takes_over + ROTATION - SECOND).kid == second
    assert ring.signing_key(takes_over + ROTATION).kid not in {first, second}
    with read_session(engine) as session:
        kids = set(session.scalars(select(StoredSigningKey.kid)))
    assert first not in kids, "no process keeps a private key that is no longer needed"
    assert [(actor, action) for _, actor, action, _ in events(engine)] == [
        (SCHEDULE, "key created"),
        (SCHEDULE, "key rotated"),
        (SCHEDULE, "key rotated"),
    ]
    assert events(engine)[1][3] == {"signing_key": [first, second], "signs_from": [None, takes_over.isoformat()]}


def test_after_a_long_idle_time_the_old_key_signs_until_the_new_one_is_published(engine: Engine) -> None:
    """After a long silence the old key signs until the new one is known (T8)."""
    ring = make_ring(engine)
    first = ring.signing_key(NOW).kid
    late = NOW + 2 * ROTATION
    assert ring.signing_key(late).kid == first
    (second,) = published(ring, late) - {first}
    assert ring.signing_key(late + PUBLICATION - SECOND).kid == first
    assert ring.signing_key(late + PUBLICATION).kid == second


def test_a_request_for_the_key_set_rotates_too(endpoint: Endpoint) -> None:
    """Asking for the key set rotates too (T8)."""

    def kids() -> list[str]:
        return [key["kid"] for key in (endpoint.client.get("/.well-known/jwks.json").json or {})["keys"]]

    with time_machine.travel(NOW, tick=False) as clock:
        (first,) = kids()
        clock.shift(ROTATION)
        assert len(kids()) == 2
        assert first in kids()


class Verifier:
    """An API that knows the published keys only, and fetches them again after 300 seconds.

    :param second_read: when it does so for the first time, so that APIs do not all read at once.
    """

    def __init__(self, ring: SigningKeys, second_read: timedelta) -> None:
        self._ring = ring
        self._keys: dict[str, jwt.PyJWK] = {}
        self._reads_at, self._second_read = NOW, NOW + second_read

    def accepts(self, token: str, now: datetime) -> bool:
        if now >= self._reads_at:
            self._keys = {key.kid: jwt.PyJWK.from_dict(key.public_jwk) for key in self._ring.published(now)}
            self._reads_at = self._second_read if now < self._second_read else now + timedelta(seconds=300)
        key = self._keys.get(jwt.get_unverified_header(token)["kid"])
        if key is None:
            return False
        # All times are those of the test's clock.
        claims = jwt.decode(
            token,
            key,
            ["ES256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )
        return bool(claims["nbf"] <= now.timestamp() < claims["exp"])


def issue(ring: SigningKeys, now: datetime) -> str:
    return TOKENS.issue(
        ring.signing_key(now),
        client_id="northwind-api",
        account_id="northwind",
        roles=["MerchantUser"],
        scope="API",
        lifetime_seconds=3600,
        generation=0,
        now=now,
    )


def test_caching_verifiers_reject_no_live_token_and_drop_a_withdrawn_key(sqlite_engine: Engine) -> None:
    """Through three rotations, with two issuing processes and verifiers that fetch at different times (T8)."""
    periods = {"rotation": 9 * HOUR, "publication": HOUR}
    rings = [make_ring(sqlite_engine, **periods) for _ in range(2)]
    verifiers = [Verifier(ring, phase * MINUTE) for ring in rings for phase in (2, 5)]
    tokens: list[tuple[datetime, str]] = []
    now, kids = NOW, set()
    while now < NOW + 30 * HOUR:
        tokens = [(issued_at, token) for issued_at, token in tokens if now < issued_at + HOUR]
        tokens.append((now, issue(rings[len(tokens) % 2], now)))
        kids.add(jwt.get_unverified_header(tokens[-1][1])["kid"])
        for verifier in verifiers:
            for _, token in (tokens[0], tokens[-1]):
                assert verifier.accepts(token, now), now
        now += 100 * SECOND
    assert len(kids) == 4
    kid = rings[0].signing_key(now).kid
    rings[0].withdraw(kid, now, "tests")
    of_the_key = [token for _, token in tokens if jwt.get_unverified_header(token)["kid"] == kid]
    assert of_the_key
    after = now + timedelta(seconds=300)
    assert not any(verifier.accepts(token, after) for verifier in verifiers for token in of_the_key)
    for ring in rings:
        assert all(verifier.accepts(issue(ring, after), after) for verifier in verifiers)


# By command


def test_rotate_creates_exactly_one_next_key(engine: Engine) -> None:
    """Rotate makes the next key in time and only one (T8)."""
    ring = make_ring(engine)
    first = ring.signing_key(NOW).kid
    later = NOW + HOUR
    second = ring.rotate(later, "tests")
    assert second.signs_from == later + PUBLICATION
    assert ring.rotate(later + HOUR, "tests").kid == second.kid
    assert states(ring, later) == {first: KeyState.SIGNING, second.kid: KeyState.WAITING}
    assert ring.signing_key(second.signs_from - SECOND).kid == first
    assert ring.signing_key(second.signs_from).kid == second.kid
    assert states(ring, second.signs_from) == {first: KeyState.STAYING, second.kid: KeyState.SIGNING}
    assert states(ring, second.signs_from + PUBLISHED_AFTER_SIGNING)[first] is KeyState.OVER
    assert [(account, actor, action) for account, actor, action, _ in events(engine)] == [
        (None, SCHEDULE, "key created"),
        (None, "tests", "key rotated"),
    ]


def test_rotate_without_any_key_creates_both(engine: Engine) -> None:
    ring = make_ring(engine)
    second = ring.rotate(NOW, "tests")
    assert ring.signing_key(NOW).kid != second.kid
    assert published(ring, NOW) == {ring.signing_key(NOW).kid, second.kid}


def test_concurrent_processes_create_one_next_key(engine: Engine) -> None:
    """Many processes at once make one next key (T8)."""
    make_ring(engine).signing_key(NOW)
    url = engine.url.render_as_string(hide_password=False)
    rings = [make_ring(make_engine(url)) for _ in range(6)]
    barrier, failures = threading.Barrier(len(rings)), list[Exception]()

    def ask(ring: SigningKeys) -> None:
        try:
            barrier.wait()
            ring.signing_key(NOW + ROTATION)
        except Exception as error:
            failures.append(error)
        finally:
            ring._engine.dispose()

    threads = [threading.Thread(target=ask, args=(ring,)) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(published(make_ring(engine), NOW + ROTATION)) == 2


def test_a_rotation_that_cannot_be_written_fails_no_request(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old key continues to sign, and the next request tries again."""
    ring = make_ring(sqlite_engine)
    first = ring.signing_key(NOW).kid

    def fail(*_: object) -> Iterator[None]:
        raise Unavailable

    with monkeypatch.context() as patch:
        patch.setattr("webapp.core.tokens.signing_keys.unit_of_work", fail)
        assert ring.signing_key(NOW + ROTATION).kid == first
    ring.signing_key(NOW + ROTATION)
    assert len(published(ring, NOW + ROTATION)) == 2


# Wrong clocks


AHEAD = 400 * DAY


def ends(ring: SigningKeys, now: datetime) -> dict[str, datetime | None]:
    return {key.kid: key.signs_until for key, _ in ring.states(now)}


@pytest.mark.parametrize("by", ["the schedule", "a command"])
def test_a_schedule_from_a_fast_clock_is_corrected(engine: Engine, by: str) -> None:
    """One host's clock was 400 days ahead for a moment, and a key would sign until then (T8)."""
    ring = make_ring(engine)
    first = ring.signing_key(NOW).kid
    wrong = make_ring(engine)
    if by == "the schedule":
        wrong.signing_key(NOW + AHEAD)
    else:
        wrong.rotate(NOW + AHEAD, "tests")
    assert ends(ring, NOW)[first] == NOW + AHEAD + PUBLICATION
    assert ring.signing_key(NOW + MINUTE).kid == first
    assert ends(ring, NOW)[first] is None
    due = NOW - CLOCK_SKEW + ROTATION - PUBLICATION
    assert ring.signing_key(due).kid == first
    assert ends(ring, due)[first] == due + PUBLICATION
    assert ring.signing_key(due + PUBLICATION).kid != first
    signed, now = set[str](), NOW
    while now < NOW + 2 * AHEAD:
        signed.add(ring.signing_key(now).kid)
        now += DAY
    assert len(signed) >= 2 * AHEAD // ROTATION


def test_rotate_always_rotates(engine: Engine) -> None:
    """A fast clock may have created a key that would wait for 401 days (T8)."""
    ring = make_ring(engine)
    first = ring.signing_key(NOW).kid
    far = make_ring(engine).rotate(NOW + AHEAD, "tests")
    following = ring.rotate(NOW, "tests")
    assert following.kid != far.kid
    assert following.signs_from == NOW + PUBLICATION
    assert ring.rotate(NOW + HOUR, "tests").kid == following.kid
    assert ring.signing_key(NOW + PUBLICATION - SECOND).kid == first
    assert ring.signing_key(NOW + PUBLICATION).kid == following.kid
    assert ring.signing_key(NOW + AHEAD + 2 * DAY).kid != far.kid


@pytest.mark.parametrize("step", [MINUTE, HOUR, DAY, AHEAD])
def test_signing_continues_after_a_step_back(engine: Engine, step: timedelta) -> None:
    """No key is removed that hosts with right clocks sign with or publish (T8)."""
    ring, right = make_ring(engine), make_ring(engine)
    first = ring.signing_key(NOW).kid
    back = ring.signing_key(NOW - step)
    assert (back.kid == first) == (step <= CLOCK_SKEW)
    assert right.signing_key(NOW + MINUTE).kid == first
    assert {first, back.kid} <= published(right, NOW + MINUTE)
    waiting = right.rotate(NOW + MINUTE, "tests")
    for now in (NOW - step + MINUTE, NOW - step + DAY):
        ring.signing_key(now)
    assert right.signing_key(NOW + DAY).kid == first
    assert right.signing_key(waiting.signs_from).kid == waiting.kid
    ring.signing_key(waiting.signs_from - step)
    assert right.signing_key(waiting.signs_from + MINUTE).kid == waiting.kid
    assert {first, waiting.kid} <= published(right, waiting.signs_from + MINUTE)


def test_hosts_with_clocks_100_days_apart_create_few_keys(engine: Engine) -> None:
    """Each corrects the other's schedule, but neither creates keys again and again (T8)."""
    right, ahead = make_ring(engine), make_ring(engine)
    right.signing_key(NOW)
    for seconds in range(50):
        ahead.signing_key(NOW + 100 * DAY + seconds * SECOND)
        right.signing_key(NOW + seconds * SECOND)
    assert len(events(engine)) <= 3


# In an emergency


def test_withdrawing_the_only_key_replaces_it_at_once(each_endpoint: Endpoint) -> None:
    """Its tokens are inactive at the next introspection; a new key signs at the next request, in each process (T8)."""
    client, api = make_client(each_endpoint.engine), add_api(each_endpoint.engine)
    processes = (each_endpoint, Endpoint(each_endpoint.engine))

    def key_ids(tokens: list[str]) -> set[str]:
        return {jwt.get_unverified_header(token)["kid"] for token in tokens}

    def active(token: str) -> list[bool]:
        return [bool((process.introspect(token, api).json or {})["active"]) for process in processes]

    before = [process.token(client) for process in processes]
    (kid,) = key_ids(before)
    each_endpoint.services.keys.withdraw(kid, datetime.now(UTC), "tests")
    assert [active(token) for token in before] == [[False, False], [False, False]]
    after = [process.token(client) for process in processes]
    (new,) = key_ids(after)
    assert new != kid
    assert [active(token) for token in after] == [[True, True], [True, True]]
    for process in processes:
        keys = (process.client.get("/.well-known/jwks.json").json or {})["keys"]
        assert [key["kid"] for key in keys] == [new]
    assert [event[1:] for event in events(each_endpoint.engine) if event[2].startswith("key")][1:] == [
        ("tests", "key withdrawn", {"signing_key": [kid, None]}),
        ("tests", "key created", {"signing_key": [None, new]}),
    ]


def test_a_published_next_key_replaces_a_withdrawn_one(engine: Engine) -> None:
    """Verifiers know it already (T8)."""
    ring = make_ring(engine)
    first, second = ring.signing_key(NOW).kid, ring.rotate(NOW, "tests").kid
    ring.withdraw(first, NOW + HOUR, "tests")
    assert make_ring(engine).signing_key(NOW + HOUR).kid == second
    assert states(ring, NOW + HOUR) == {first: KeyState.WITHDRAWN, second: KeyState.SIGNING}
    assert events(engine)[-1][2:] == ("key rotated", {"signing_key": [None, second]})


def test_withdrawing_the_next_key_keeps_the_current_one_signing(engine: Engine) -> None:
    """A waiting key withdrawn leaves the old one signing until it has another successor (T8)."""
    ring = make_ring(engine)
    first, second = ring.signing_key(NOW).kid, ring.rotate(NOW, "tests")
    ring.withdraw(second.kid, NOW + HOUR, "tests")
    assert ring.signing_key(second.signs_from + HOUR).kid == first
    assert published(ring, NOW + HOUR) == {first}
    third = ring.rotate(NOW + 2 * HOUR, "tests")
    assert third.signs_from == NOW + 2 * HOUR + PUBLICATION
    assert ring.signing_key(third.signs_from).kid == third.kid


def test_withdrawing_a_former_key_changes_no_other_key(engine: Engine) -> None:
    """A staying key withdrawn disturbs nothing else (T8)."""
    ring = make_ring(engine)
    first, second = ring.signing_key(NOW).kid, ring.rotate(NOW, "tests")
    ring.withdraw(first, second.signs_from, "tests")
    assert published(ring, second.signs_from) == {second.kid}
    assert ring.signing_key(second.signs_from).kid == second.kid


def test_withdrawing_again_or_an_unknown_key_changes_nothing(engine: Engine) -> None:
    ring = make_ring(engine)
    first = ring.signing_key(NOW).kid
    ring.withdraw(first, NOW, "tests")
    before = events(engine), states(ring, NOW)
    ring.withdraw(first, NOW, "tests")
    with pytest.raises(NotFound):
        ring.withdraw("unknown", NOW, "tests")
    assert (events(engine), states(ring, NOW)) == before


def test_a_key_that_does_not_decrypt_can_be_withdrawn(engine: Engine) -> None:
    """After the loss of the encryption key no token could be issued otherwise (T9)."""
    kid = make_ring(engine).signing_key(NOW).kid
    other = SigningKeys(engine, [b"l" * 32])
    with pytest.raises(SigningKeyUnusable):
        other.signing_key(NOW)
    with pytest.raises(SigningKeyUnusable):
        other.rotate(NOW, "tests")
    other.withdraw(kid, NOW, "tests")
    assert other.signing_key(NOW).kid != kid


@pytest.mark.parametrize(
    ("days", "hours", "starts"),
    [
        *((90, 24, True), (1, 1, True), (1, 23, True), (90, 168, True)),
        *((91, 24, False), (0, 24, False), (90, 0, False), (1, 24, False), (2, 48, False)),
    ],
)
def test_the_settings_have_floors(sqlite_engine: Engine, days: int, hours: int, starts: bool) -> None:
    """The settings have floors (T8)."""
    if not starts:
        with pytest.raises(SettingsError, match="IDENTITY_CLIENTS_KEY_"):
            Endpoint(sqlite_engine, None, KEY_ROTATION_DAYS=days, KEY_PUBLISH_HOURS=hours)
        return
    endpoint = Endpoint(sqlite_engine, None, KEY_ROTATION_DAYS=days, KEY_PUBLISH_HOURS=hours)
    key = endpoint.services.keys.rotate(NOW, "tests")
    assert key.signs_from == NOW + hours * HOUR
    assert endpoint.services.keys.signing_key(NOW + (days + 1) * DAY).kid == key.kid


# The commands


Run = Callable[..., str]


@pytest.fixture
def run(endpoint: Endpoint) -> Run:
    """Run `flask identity-clients keys ...`, and return what it printed."""

    def invoke(*arguments: str, exit_code: int = 0) -> str:
        result = endpoint.app.test_cli_runner().invoke(args=["identity-clients", "keys", *arguments])
        assert result.exit_code == exit_code, result.output
        return result.output

    return invoke


def test_the_commands_list_rotate_and_withdraw(endpoint: Endpoint, run: Run) -> None:
    assert run("list") == ""
    with time_machine.travel(NOW, tick=False):
        first = endpoint.services.keys.signing_key(NOW).kid
        assert run("list") == f"{first}\tsigning\tfrom 2026-03-01 11:55 UTC\n"
        printed = run("rotate")
        (second,) = published(endpoint.services.keys, NOW) - {first}
        assert printed == f"Key {second} is published, and signs from 2026-03-02 12:00 UTC.\n"
        assert run("rotate") == printed
        assert run("list").splitlines() == [
            f"{first}\tsigning\tfrom 2026-03-01 11:55 UTC\tuntil 2026-03-02 12:00 UTC",
            f"{second}\twaiting\tfrom 2026-03-02 12:00 UTC",
        ]
        assert "300 seconds" in run("withdraw", first)
        assert f"{first}\twithdrawn" in run("list")
        assert f"{second}\tsigning" in run("list")
    assert "keys list" in run("withdraw", "unknown", exit_code=1)
    assert {actor for _, actor, action, _ in events(endpoint.engine) if action == "key withdrawn"} != {SCHEDULE}


@pytest.mark.parametrize("kid", ["-" + "x" * 42, "--" + "x" * 41, "-h" + "x" * 41])
def test_a_key_id_may_begin_with_a_hyphen(endpoint: Endpoint, run: Run, kid: str) -> None:
    """One base64url ID in 64 does, and it must not be parsed as an option."""
    endpoint.services.keys.signing_key(NOW)
    with unit_of_work(endpoint.engine) as session:
        session.execute(update(StoredSigningKey).values(kid=kid))
    assert f"Key {kid} is withdrawn" in run("withdraw", kid)


def test_no_command_prints_a_private_key(endpoint: Endpoint, run: Run) -> None:
    """If a key does not decrypt, the message says which setting to check (T9)."""
    key = endpoint.services.keys.signing_key(datetime.now(UTC))
    number = str(key.jwk.as_dict(private=True)["d"])
    printed = run("list") + run("rotate") + run("withdraw", key.kid) + run("list")
    assert key.kid in printed
    for secret in (number, base64.urlsafe_b64decode(number + "=").hex(), "PRIVATE", '"d"'):
        assert secret not in printed
    with unit_of_work(endpoint.engine) as session:
        session.execute(update(StoredSigningKey).values(private_key_encrypted=b"x" * 40))
    assert "IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY" in run("rotate", exit_code=1)
