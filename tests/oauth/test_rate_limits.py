"""Guessing is stopped before it costs anything, and nobody healthy with it (D2-D5, D8, S9)."""

import gc
import logging
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from types import FrameType, FunctionType, ModuleType
from typing import Any

import pytest
import redis
import time_machine
from limits import RateLimitItemPerMinute
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from tests.support import servers
from tests.support.endpoint import Endpoint, argon2_computations, change_client, statements
from tests.support.factories import SECRET, make_client, make_throttles
from tests.support.refusals import GENERATED_SECRET
from webapp import SettingsError
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient
from webapp.core.errors import RateLimited
from webapp.core.rate_limits import storage
from webapp.core.rate_limits.storage import BoundedMemoryStorage, WindowCounters
from webapp.core.secrets.argon2_pool import WAITING_MAX, pool_size
from webapp.core.secrets.generation import generate_secret

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"
WRONG = "a-wrong-secret"
WINDOW_SECONDS = 300


def guess(endpoint: Endpoint, client: IdentityClient | str, times: int, address: str = HERE) -> list[int]:
    """Ask with wrong secrets; return the statuses."""
    return [endpoint.ask(client, f"{WRONG}-{number}", address=address).status_code for number in range(times)]


def retry_after(response: TestResponse) -> int:
    """Check an answer that asks the caller to wait; return for how many seconds (D4, P13)."""
    assert (response.status_code, response.data) == (429, b'{"error": "temporarily_unavailable"}')
    assert response.headers["Cache-Control"] == "no-store"
    text = response.headers["Retry-After"]
    assert text.isdecimal()
    assert 1 <= int(text) <= WINDOW_SECONDS
    return int(text)


@pytest.fixture(params=["memory", "redis"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Return where rate limits are counted: in this process, and in Redis."""
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@pytest.fixture
def each_store(sqlite_engine: Engine, store_url: str) -> Iterator[Endpoint]:
    """Return the endpoint with rate_limits of its own, and with shared ones."""
    endpoint = Endpoint(sqlite_engine, THROTTLE_STORAGE_URL=store_url)
    yield endpoint
    close(endpoint)


def close(endpoint: Endpoint) -> None:
    """Close what an application keeps until it ends: its connections to Redis."""
    shared: Any = endpoint.services.rate_limits.counters._shared
    if shared is not None:
        shared.storage.storage.connection_pool.disconnect()


def test_d2_a_right_generated_secret_is_never_throttled(each_store: Endpoint) -> None:
    """D2: its comparison costs no slow hash, so one stale caller behind a shared address never blocks a healthy one."""
    client = make_client(each_store.engine, secret=GENERATED_SECRET)
    wrong = [generate_secret("vcs_").reveal() for _ in range(11)]
    assert [each_store.ask(client, secret, address=HERE).status_code for secret in wrong] == [401] * 10 + [429]
    assert each_store.ask(client, GENERATED_SECRET, address=HERE).status_code == 200
    assert each_store.ask(client, WRONG, address=HERE).status_code == 429


@pytest.mark.parametrize("known", [True, False], ids=["known ID", "unknown ID"])
def test_d2_the_11th_guess_is_429_before_any_hash(each_store: Endpoint, known: bool) -> None:
    """D2, D4: for a known ID as for an unknown one, also with the right secret, as long as nobody remembers it."""
    client = make_client(each_store.engine, client_id="northwind-api")
    client_id = client.client_id if known else "southwind-api"
    with time_machine.travel(NOW) as clock:
        assert guess(each_store, client_id, 10) == [401] * 10
        with argon2_computations() as hashed, statements(each_store.engine) as seen:
            wait = retry_after(each_store.ask(client_id, WRONG, address=HERE))
            retry_after(each_store.ask(client_id, SECRET, address=HERE))
        assert not hashed
        assert len(seen) == 2
        assert wait >= WINDOW_SECONDS - 60
        clock.shift(wait)
        assert each_store.ask(client_id, SECRET, address=HERE).status_code == (200 if known else 401)


def test_d4_the_wait_is_exact_and_told_in_whole_seconds(endpoint: Endpoint) -> None:
    """D4: a second before its end is too early, however often one asks; at its end one may."""
    client = make_client(endpoint.engine)
    with time_machine.travel(NOW, tick=False) as clock:
        assert guess(endpoint, client, 1) == [401]
        clock.shift(100.25)
        assert guess(endpoint, client, 9) == [401] * 9
        clock.shift(99.25)
        wait = retry_after(endpoint.ask(client, address=HERE))
        assert wait == 101  # 100.5 seconds are left of the first failure's five minutes
        for left in range(wait - 1, 0, -1):
            clock.shift(1)
            assert retry_after(endpoint.ask(client, address=HERE)) == left
        clock.shift(1)
        assert endpoint.ask(client, address=HERE).status_code == 200


def test_d4_where_both_windows_are_used_up_the_longer_wait_is_told(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=1, FAILURES_PER_ADDRESS=2)
    with time_machine.travel(NOW, tick=False) as clock:
        assert guess(limited, client, 1) == [401]
        clock.shift(100)
        assert guess(limited, "another-client", 1) == [401]
        assert retry_after(limited.ask("a-third-client", address=HERE)) == 200  # until the first failure is over
        assert retry_after(limited.ask("another-client", address=HERE)) == 300
        clock.shift(300)
        assert limited.ask(client, address=HERE).status_code == 200


def test_d4_one_line_in_the_log_tells_of_a_window(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """D4, L3: once, with the client where there is one, and nothing of what was sent."""
    client = make_client(endpoint.engine)
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=2, FAILURES_PER_ADDRESS=1_000)

    def told() -> list[tuple[object, ...]]:
        lines = [record for record in caplog.records if record.name == "webapp.core.authentication.authenticator"]
        caplog.clear()
        return [(line.levelno, line.getMessage(), vars(line)["client_key"], vars(line)["address"]) for line in lines]

    with time_machine.travel(NOW, tick=False) as clock:
        assert guess(limited, client, 1) == [401]
        assert told() == []
        assert guess(limited, client, 9) == [401, *[429] * 8]
        assert told() == [(logging.WARNING, "authentication throttled", str(client.id), HERE)]
        clock.shift(WINDOW_SECONDS)
        assert guess(limited, client, 3) == [401, 401, 429]
        assert len(told()) == 1
        assert guess(limited, "a-secret-as-an-id", 3) == [401, 401, 429]
        assert "a-secret-as-an-id" not in caplog.text
        assert told() == [(logging.WARNING, "authentication throttled", "unknown", HERE)]


def test_d2_a_remembered_secret_comes_in_at_no_cost(sqlite_engine: Engine, store_url: str) -> None:
    """D2: one stale caller behind a shared address never blocks a healthy one, and it asks no throttle at all."""
    limits: dict[str, Any] = {"FAILURES_PER_CLIENT_AND_ADDRESS": 2, "FAILURES_PER_ADDRESS": 3}
    limited = Endpoint(sqlite_engine, THROTTLE_STORAGE_URL=store_url, **limits)
    healthy, stale = make_client(sqlite_engine), make_client(sqlite_engine)
    assert limited.ask(healthy, address=HERE).status_code == 200
    assert guess(limited, stale, 3) == [401] * 2 + [429]
    assert guess(limited, healthy, 2) == [401, 429]
    with argon2_computations() as hashed, pytest.MonkeyPatch.context() as patch:
        patch.delattr(WindowCounters, "_call")
        for basic in (False, True):
            assert limited.ask(healthy, basic=basic, address=HERE).status_code == 200
    assert not hashed
    close(limited)


def test_s9_a_remembered_secret_that_counts_no_more_is_throttled(endpoint: Endpoint) -> None:
    """S9, P8: the memory excuses nobody who may not come in."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=2)
    client = make_client(endpoint.engine)
    assert limited.ask(client, address=HERE).status_code == 200
    change_client(endpoint.engine, client, enabled=False)
    assert [limited.ask(client, address=HERE).status_code for _ in range(3)] == [401] * 2 + [429]


def test_d2_30_failures_of_one_address_whatever_the_id(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    for number in range(30):
        assert guess(endpoint, f"client-{number}", 1) == [401]
    with argon2_computations() as hashed:
        retry_after(endpoint.ask(client, address=HERE))
        assert not hashed
        assert endpoint.ask(client, address=ELSEWHERE).status_code == 200


@pytest.mark.parametrize(
    ("addresses", "throttled"),
    [
        ([HERE, f"::ffff:{HERE}"], True),
        (["2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"], True),
        (["2001:db8:0:1::1", "2001:db8:0:2::1"], False),
        (["192.0.2.1", "192.0.2.2"], False),
    ],
    ids=["mapped", "one /64", "two /64", "two /32"],
)
def test_d2_what_one_address_is(endpoint: Endpoint, addresses: list[str], throttled: bool) -> None:
    """D2: an IPv6 customer's /64 is one; an IPv4-mapped address is the IPv4 one (A8)."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_ADDRESS=2)
    for number in range(2):
        assert guess(limited, f"client-{number}", 1, addresses[0]) == [401]
    assert guess(limited, "client-3", 1, addresses[1]) == [429 if throttled else 401]


def test_d3_nobody_can_lock_a_client_out(endpoint: Endpoint) -> None:
    """D3: attacked from 50 addresses, each until it is throttled, the merchant's own call still comes in."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=1)
    client = make_client(endpoint.engine)
    for number in range(50):
        assert guess(limited, client, 2, f"203.0.113.{number}") == [401, 429]
    with argon2_computations() as hashed:
        assert limited.ask(client, address=HERE).status_code == 200
    assert len(hashed) == 1


@pytest.mark.parametrize("basic", [False, True], ids=["body", "basic"])
def test_d2_only_failed_authentications_count(endpoint: Endpoint, basic: bool) -> None:
    """D2: neither a success, nor a refused scope, nor what is malformed and costs no hash (P6)."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=1, FAILURES_PER_ADDRESS=1)
    client = make_client(endpoint.engine)
    for _ in range(3):
        assert limited.ask(client, basic=basic).status_code == 200
        assert limited.ask(client, basic=basic, scope="nothing").status_code == 400
        assert limited.ask(client, "short", basic=basic).status_code == 401
        assert limited.post({"grant_type": "client_credentials"}).status_code == 401
        assert limited.post({"grant_type": "password"}).status_code == 400
    assert guess(limited, client, 2, "127.0.0.1") == [401, 429]


@pytest.mark.parametrize("path", ["/connect/introspect", "/connect/revocation"])
def test_d2_every_endpoint_counts_alike(endpoint: Endpoint, path: str) -> None:
    """D2: guessing goes on nowhere else."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=2)
    client = make_client(endpoint.engine)
    form = {"client_id": client.client_id, "client_secret": WRONG, "token": "x"}
    assert limited.client.post(path, data=form).status_code == 401
    assert guess(limited, client, 1, "127.0.0.1") == [401]
    retry_after(limited.client.post(path, data=form))
    retry_after(limited.ask(client))


def test_d2_guesses_at_once_cost_few_hashes_more(endpoint: Endpoint) -> None:
    """D2: those who wait for a thread are refused once enough have failed before them."""
    at_once = pool_size() + WAITING_MAX
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=3)
    client = make_client(endpoint.engine)
    barrier = Barrier(at_once)

    def one(number: int) -> int:
        barrier.wait()
        return limited.ask(client, f"{WRONG}-{number}", address=HERE).status_code

    with argon2_computations() as hashed, ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(one, range(at_once)))
    assert set(found) == {401, 429}
    assert 3 <= found.count(401) < 3 + pool_size()
    assert len(hashed) == 2 * found.count(401)


def test_d2_processes_share_the_count_in_redis(sqlite_engine: Engine, redis_url: str) -> None:
    """D2: two applications with one Redis count together; neither the ID nor the secret stands in it."""
    one, two = (Endpoint(sqlite_engine, THROTTLE_STORAGE_URL=redis_url) for _ in range(2))
    client = make_client(sqlite_engine)
    found = [guess((one, two)[number % 2], client, 1)[0] for number in range(11)]
    assert found == [401] * 10 + [429]
    with redis.Redis.from_url(redis_url) as connection:
        keys = list(connection.scan_iter())
        assert 0 < len(keys) <= 4
        assert all(0 < connection.ttl(key) <= WINDOW_SECONDS for key in keys)
        assert not any(client.client_id.encode() in key or WRONG.encode() in key for key in keys)
    for endpoint in (one, two):
        close(endpoint)


# The shared store is away (D8)


def start_redis(directory: Path, port: int) -> servers.Server:
    """Start a Redis of our own, which a test may stop."""
    program = shutil.which("redis-server")
    script = f'exec "{program}" --bind 127.0.0.1 --port {port} --save "" --appendonly no'
    server = servers.Server("Redis", directory, script)
    while True:
        try:
            with redis.Redis(port=port) as connection:
                connection.ping()
        except redis.ConnectionError:
            time.sleep(0.02)
        else:
            return server


def test_d8_without_the_shared_store_each_process_counts(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """D8: from the next request on, at once and by itself; and together again when the store is back."""
    tmp_path.chmod(0o711)
    for parent in tmp_path.parents:
        if parent.owner() == "root" and parent.is_relative_to("/tmp/"):
            parent.chmod(0o711)
    monkeypatch.setattr(storage, "SHARED_RETRY_SECONDS", 0.2)
    port = servers.free_port()
    server = start_redis(tmp_path / "one", port)
    url = f"redis://127.0.0.1:{port}/0"
    one, two = (Endpoint(sqlite_engine, FAILURES_PER_CLIENT_AND_ADDRESS=3, THROTTLE_STORAGE_URL=url) for _ in range(2))
    client, other = make_client(sqlite_engine), make_client(sqlite_engine)
    assert guess(one, client, 3) == [401] * 3
    assert guess(two, client, 1) == [429]
    server.stop()
    for endpoint in (one, two):
        assert guess(endpoint, client, 4) == [401] * 3 + [429]
    assert [record.getMessage() for record in caplog.records if record.name == "webapp.core.rate_limits.storage"] == [
        "rate limits are counted in each process: the shared store does not answer"
    ] * 2
    server = start_redis(tmp_path / "two", port)
    time.sleep(0.25)
    assert guess(one, other, 3) == [401] * 3
    assert guess(two, other, 1) == [429]
    server.stop()
    for endpoint in (one, two):
        close(endpoint)


def test_d8_a_store_that_never_answers_costs_no_time(sqlite_engine: Engine) -> None:
    """D8: the application starts without it, and a request waits for it a quarter of a second at most."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        endpoint = Endpoint(sqlite_engine, FAILURES_PER_CLIENT_AND_ADDRESS=1, THROTTLE_STORAGE_URL=url)
        client = make_client(sqlite_engine)
        began = time.monotonic()
        assert guess(endpoint, client, 5) == [401] + [429] * 4
        assert time.monotonic() - began < 2
        close(endpoint)


@pytest.mark.parametrize("url", ["memcached://127.0.0.1", "redis", "", "http://127.0.0.1", "async+redis://127.0.0.1"])
def test_a_store_that_is_none_stops_the_start(sqlite_engine: Engine, url: str) -> None:
    with pytest.raises(SettingsError, match="THROTTLE_STORAGE_URL must be"):
        Endpoint(sqlite_engine, THROTTLE_STORAGE_URL=url)


# What is kept in memory is bounded


def test_windows_keep_no_more_keys_than_they_may() -> None:
    """A flood of distinct IDs and addresses: the windows used last stay, the others go."""
    storage = BoundedMemoryStorage(keys_max=100)
    for number in range(1_000):
        assert storage.acquire_entry(f"key-{number}", 1, 300)
        assert not storage.acquire_entry(f"key-{number}", 1, 300)
    assert len(storage) == 100
    assert storage.acquire_entry("key-0", 1, 300)
    assert not storage.acquire_entry("key-999", 1, 300)


def test_windows_forget_what_has_passed() -> None:
    storage = BoundedMemoryStorage()
    with time_machine.travel(NOW, tick=False) as clock:
        for number in range(1_000):
            storage.acquire_entry(f"short-{number}", 10, 300)
            storage.acquire_entry(f"long-{number}", 10, 3600)
        clock.shift(299)
        storage.acquire_entry("short-1", 10, 300)
        assert len(storage) == 2_000
        clock.shift(1)
        storage.acquire_entry("short-2", 10, 300)
        assert len(storage) == 1_002
        assert storage.get_moving_window("short-1", 10, 300) == (NOW.timestamp() + 299, 1)


def test_a_flood_of_keys_stays_quick_and_small() -> None:
    """Counting costs the same however many keys there are."""
    counted = WindowCounters("memory://")
    quota = RateLimitItemPerMinute(10, 5)
    began = time.process_time()
    for number in range(120_000):
        counted.hit(quota, "address", str(number))
    seconds = time.process_time() - began
    kept: Any = counted._local.storage
    assert len(kept) == storage.KEYS_MAX
    assert seconds < 12


# Quotas (D5)


def test_d5_tokens_of_a_client_in_a_minute(endpoint: Endpoint) -> None:
    limited = Endpoint(endpoint.engine, TOKENS_PER_CLIENT_AND_MINUTE=3)
    client, other = make_client(endpoint.engine), make_client(endpoint.engine)
    with time_machine.travel(NOW, tick=False) as clock:
        assert [limited.ask(client).status_code for _ in range(3)] == [200] * 3
        clock.shift(20)
        assert limited.ask(client, scope="nothing").status_code == 400  # no token, so it does not count
        assert retry_after(limited.ask(client)) == 40
        assert limited.ask(other).status_code == 200
        clock.shift(39)
        assert retry_after(limited.ask(client)) == 1
        clock.shift(1)
        assert [limited.ask(client).status_code for _ in range(4)] == [200] * 3 + [429]


def test_d5_without_a_quota_tokens_ask_no_store(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make_client(endpoint.engine)
    assert endpoint.ask(client).status_code == 200
    monkeypatch.delattr(WindowCounters, "_call")
    assert [endpoint.ask(client).status_code for _ in range(100)] == [200] * 100


def test_d5_exports_of_an_actor_in_an_hour() -> None:
    rate_limits = make_throttles()
    with time_machine.travel(NOW, tick=False) as clock:
        for _ in range(10):
            rate_limits.count_export("hannah")
        with pytest.raises(RateLimited) as caught:
            rate_limits.count_export("hannah")
        rate_limits.count_export("somebody else")
        assert caught.value.retry_after_seconds == 3600
        clock.shift(3600)
        rate_limits.count_export("hannah")


@pytest.mark.parametrize(
    ("name", "unfit"),
    [
        ("FAILURES_PER_CLIENT_AND_ADDRESS", 0),
        ("FAILURES_PER_ADDRESS", 0),
        ("EXPORTS_PER_ACTOR_AND_HOUR", 0),
        ("TOKENS_PER_CLIENT_AND_MINUTE", -1),
        ("NEW_CLIENTS_PER_ACCOUNT_AND_HOUR", -1),
    ],
)
def test_d5_an_unfit_quota_stops_the_start(sqlite_engine: Engine, name: str, unfit: int) -> None:
    given: dict[str, Any] = {name: unfit}
    with pytest.raises(SettingsError, match=f"{name} must be"):
        Endpoint(sqlite_engine, **given)


# The memory of successful checks (S9)


def test_s9_no_object_holds_a_secret_that_came_in(sqlite_url: str) -> None:
    """S9, L4: of all that the application keeps between requests nothing holds a secret, right or wrong."""
    engine = make_engine(sqlite_url)
    endpoint = Endpoint(engine)
    canaries = ["canary-right-5f0c9e", "canary-wrong-81d7aa"]
    client = make_client(engine, secret=canaries[0])
    assert [endpoint.ask(client, canary).status_code for canary in canaries] == [200, 401]
    assert "canary" not in "".join(texts_held_by(endpoint.services))
    endpoint.services.rate_limits.count_new_client("canary")
    endpoint.services.rate_limits.count_export("canary")
    assert "canary" in "".join(texts_held_by(endpoint.services))
    engine.dispose()


def texts_held_by(root: object) -> Iterator[str]:
    """Give every text that an object holds, at whatever depth; not those of the code."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type | ModuleType | FunctionType | FrameType):
            continue
        seen[id(found)] = found
        if isinstance(found, str | bytes):
            yield found if isinstance(found, str) else found.decode("latin-1")
        waiting += gc.get_referents(found)
