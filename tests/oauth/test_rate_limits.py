"""Rate limits and quotas of the endpoint, in memory and in Redis (D2-D5, D8, S9)."""

import gc
import logging
import shutil
import time
from collections.abc import Callable, Iterator
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
from tests.support.factories import SECRET, make_client, make_rate_limits
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
    """Send wrong secrets; return the statuses."""
    return [endpoint.request_token(client, f"{WRONG}-{number}", address=address).status_code for number in range(times)]


def retry_after(response: TestResponse) -> int:
    """Check a 429 response, and return its Retry-After in seconds (D4, P13)."""
    assert (response.status_code, response.data) == (429, b'{"error": "temporarily_unavailable"}')
    assert response.headers["Cache-Control"] == "no-store"
    text = response.headers["Retry-After"]
    assert text.isdecimal()
    assert 1 <= int(text) <= WINDOW_SECONDS
    return int(text)


@pytest.fixture(params=["memory", "redis"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of the rate-limit store: memory of this process, and Redis."""
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@pytest.fixture
def each_store(sqlite_engine: Engine, store_url: str) -> Iterator[Endpoint]:
    """Return the endpoint with its rate limits in memory, and in Redis."""
    endpoint = Endpoint(sqlite_engine, THROTTLE_STORAGE_URL=store_url)
    yield endpoint
    close(endpoint)


def close(endpoint: Endpoint) -> None:
    """Close the Redis connections that an application keeps until it ends."""
    shared: Any = endpoint.services.rate_limits.counters._shared
    if shared is not None:
        shared.storage.storage.connection_pool.disconnect()


def test_correct_generated_secret_is_not_rate_limited(each_store: Endpoint) -> None:
    """Compare it without argon2id, so a caller with an old secret never blocks others at its address (D2)."""
    client = make_client(each_store.engine, secret=GENERATED_SECRET)
    wrong = [generate_secret("vcs_").reveal() for _ in range(11)]
    assert [each_store.request_token(client, secret, address=HERE).status_code for secret in wrong] == [401] * 10 + [
        429
    ]
    assert each_store.request_token(client, GENERATED_SECRET, address=HERE).status_code == 200
    assert each_store.request_token(client, WRONG, address=HERE).status_code == 429


@pytest.mark.parametrize("known", [True, False], ids=["known ID", "unknown ID"])
def test_11th_failure_is_429_without_hash(each_store: Endpoint, known: bool) -> None:
    """Limit known and unknown IDs alike, also for the correct secret while it is not cached (D2, D4)."""
    client = make_client(each_store.engine, client_id="northwind-api")
    client_id = client.client_id if known else "southwind-api"
    with time_machine.travel(NOW) as clock:
        assert guess(each_store, client_id, 10) == [401] * 10
        with argon2_computations() as hashed, statements(each_store.engine) as seen:
            wait = retry_after(each_store.request_token(client_id, WRONG, address=HERE))
            retry_after(each_store.request_token(client_id, SECRET, address=HERE))
        assert not hashed
        assert len(seen) == 2
        assert wait >= WINDOW_SECONDS - 60
        clock.shift(wait)
        assert each_store.request_token(client_id, SECRET, address=HERE).status_code == (200 if known else 401)


def test_retry_after_is_exact_in_whole_seconds(endpoint: Endpoint) -> None:
    """Refuse a second before the window ends, and accept at its end, however often one asks (D4)."""
    client = make_client(endpoint.engine)
    with time_machine.travel(NOW, tick=False) as clock:
        assert guess(endpoint, client, 1) == [401]
        clock.shift(100.25)
        assert guess(endpoint, client, 9) == [401] * 9
        clock.shift(99.25)
        wait = retry_after(endpoint.request_token(client, address=HERE))
        assert wait == 101  # 100.5 seconds are left of the first failure's five minutes
        for left in range(wait - 1, 0, -1):
            clock.shift(1)
            assert retry_after(endpoint.request_token(client, address=HERE)) == left
        clock.shift(1)
        assert endpoint.request_token(client, address=HERE).status_code == 200


def test_retry_after_is_the_longer_of_two_windows(endpoint: Endpoint) -> None:
    """Return the longer wait when both windows are used up (D4)."""
    client = make_client(endpoint.engine)
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=1, FAILURES_PER_ADDRESS=2)
    with time_machine.travel(NOW, tick=False) as clock:
        assert guess(limited, client, 1) == [401]
        clock.shift(100)
        assert guess(limited, "another-client", 1) == [401]
        assert (
            retry_after(limited.request_token("a-third-client", address=HERE)) == 200
        )  # until the first failure is over
        assert retry_after(limited.request_token("another-client", address=HERE)) == 300
        clock.shift(300)
        assert limited.request_token(client, address=HERE).status_code == 200


def test_exceeded_limit_is_logged_once(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """Log once per window, with a known client's ID and nothing that was sent (D4, L3)."""
    client = make_client(endpoint.engine)
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=2, FAILURES_PER_ADDRESS=1_000)

    def log_lines() -> list[tuple[object, ...]]:
        lines = [record for record in caplog.records if record.name == "webapp.core.authentication.authenticator"]
        caplog.clear()
        return [(line.levelno, line.getMessage(), vars(line)["client_key"], vars(line)["address"]) for line in lines]

    with time_machine.travel(NOW, tick=False) as clock:
        assert guess(limited, client, 1) == [401]
        assert log_lines() == []
        assert guess(limited, client, 9) == [401, *[429] * 8]
        assert log_lines() == [(logging.WARNING, "authentication throttled", str(client.id), HERE)]
        clock.shift(WINDOW_SECONDS)
        assert guess(limited, client, 3) == [401, 401, 429]
        assert len(log_lines()) == 1
        assert guess(limited, "a-secret-as-an-id", 3) == [401, 401, 429]
        assert "a-secret-as-an-id" not in caplog.text
        assert log_lines() == [(logging.WARNING, "authentication throttled", "unknown", HERE)]


def test_cached_secret_is_not_rate_limited(sqlite_engine: Engine, store_url: str) -> None:
    """Accept a cached secret without consulting the rate limits behind a shared address (D2)."""
    limits: dict[str, Any] = {"FAILURES_PER_CLIENT_AND_ADDRESS": 2, "FAILURES_PER_ADDRESS": 3}
    limited = Endpoint(sqlite_engine, THROTTLE_STORAGE_URL=store_url, **limits)
    healthy, stale = make_client(sqlite_engine), make_client(sqlite_engine)
    assert limited.request_token(healthy, address=HERE).status_code == 200
    assert guess(limited, stale, 3) == [401] * 2 + [429]
    assert guess(limited, healthy, 2) == [401, 429]
    with argon2_computations() as hashed, pytest.MonkeyPatch.context() as patch:
        patch.delattr(WindowCounters, "_call")
        for basic in (False, True):
            assert limited.request_token(healthy, basic=basic, address=HERE).status_code == 200
    assert not hashed
    close(limited)


def test_invalid_cached_secret_is_rate_limited(endpoint: Endpoint) -> None:
    """Apply the rate limit to a cached secret that is no longer valid (S9, P8)."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=2)
    client = make_client(endpoint.engine)
    assert limited.request_token(client, address=HERE).status_code == 200
    change_client(endpoint.engine, client, enabled=False)
    assert [limited.request_token(client, address=HERE).status_code for _ in range(3)] == [401] * 2 + [429]


def test_30_failures_per_address(endpoint: Endpoint) -> None:
    """Limit an address after 30 failures with any IDs (D2)."""
    client = make_client(endpoint.engine)
    for number in range(30):
        assert guess(endpoint, f"client-{number}", 1) == [401]
    with argon2_computations() as hashed:
        retry_after(endpoint.request_token(client, address=HERE))
        assert not hashed
        assert endpoint.request_token(client, address=ELSEWHERE).status_code == 200


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
def test_addresses_are_grouped_by_network(endpoint: Endpoint, addresses: list[str], throttled: bool) -> None:
    """Count an IPv6 /64 as one address, and an IPv4-mapped address as the IPv4 one (A8, D2)."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_ADDRESS=2)
    for number in range(2):
        assert guess(limited, f"client-{number}", 1, addresses[0]) == [401]
    assert guess(limited, "client-3", 1, addresses[1]) == [429 if throttled else 401]


def test_attack_does_not_lock_the_client_out(endpoint: Endpoint) -> None:
    """Accept the merchant's own call while 50 attacking addresses are limited (D3)."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=1)
    client = make_client(endpoint.engine)
    for number in range(50):
        assert guess(limited, client, 2, f"203.0.113.{number}") == [401, 429]
    with argon2_computations() as hashed:
        assert limited.request_token(client, address=HERE).status_code == 200
    assert len(hashed) == 1


@pytest.mark.parametrize("basic", [False, True], ids=["body", "basic"])
def test_only_failed_authentications_count(endpoint: Endpoint, basic: bool) -> None:
    """Count neither successes, refused scopes, nor malformed requests that cost no hash (P6, D2)."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=1, FAILURES_PER_ADDRESS=1)
    client = make_client(endpoint.engine)
    for _ in range(3):
        assert limited.request_token(client, basic=basic).status_code == 200
        assert limited.request_token(client, basic=basic, scope="nothing").status_code == 400
        assert limited.request_token(client, "short", basic=basic).status_code == 401
        assert limited.post({"grant_type": "client_credentials"}).status_code == 401
        assert limited.post({"grant_type": "password"}).status_code == 400
    assert guess(limited, client, 2, "127.0.0.1") == [401, 429]


@pytest.mark.parametrize("path", ["/connect/introspect", "/connect/revocation"])
def test_endpoints_share_the_limits(endpoint: Endpoint, path: str) -> None:
    """Count failures of all endpoints together (D2)."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=2)
    client = make_client(endpoint.engine)
    form = {"client_id": client.client_id, "client_secret": WRONG, "token": "x"}
    assert limited.client.post(path, data=form).status_code == 401
    assert guess(limited, client, 1, "127.0.0.1") == [401]
    retry_after(limited.client.post(path, data=form))
    retry_after(limited.request_token(client))


def test_concurrent_failures_cost_few_extra_hashes(endpoint: Endpoint) -> None:
    """Refuse requests that wait for a thread once enough earlier ones have failed (D2)."""
    at_once = pool_size() + WAITING_MAX
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=3)
    client = make_client(endpoint.engine)
    barrier = Barrier(at_once)

    def one(number: int) -> int:
        barrier.wait()
        return limited.request_token(client, f"{WRONG}-{number}", address=HERE).status_code

    with argon2_computations() as hashed, ThreadPoolExecutor(at_once) as pool:
        found = list(pool.map(one, range(at_once)))
    assert set(found) == {401, 429}
    assert 3 <= found.count(401) < 3 + pool_size()
    assert len(hashed) == 2 * found.count(401)


def test_processes_share_the_count_in_redis(sqlite_engine: Engine, redis_url: str) -> None:
    """Count two applications together; Redis stores neither the ID nor the secret (D2)."""
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


def start_redis(directory: Path, port: int, options: str = "", file: str = "") -> servers.Server:
    """Start a Redis server that a test can stop.

    :param file: the text of its configuration, which a Sentinel needs in a file.
    """
    program = shutil.which("redis-server")
    script = f"""
        printf %s '{file}' > redis.conf
        exec "{program}" redis.conf --bind 127.0.0.1 --port {port} --save "" {options}
    """
    server = servers.Server("Redis", directory, script)
    while True:
        try:
            with redis.Redis(port=port) as connection:
                connection.ping()
        except redis.AuthenticationError:
            return server
        except redis.ConnectionError:
            time.sleep(0.02)
        else:
            return server


def let_servers_enter(directory: Path) -> None:
    """Let the user of the servers enter a temporary directory."""
    for parent in (directory, *directory.parents):
        if parent.owner() == "root" and parent.is_relative_to("/tmp/"):
            parent.chmod(0o711)


def test_each_process_counts_without_shared_store(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fall back to counts per process at once, and share counts again when the store is back (D8)."""
    let_servers_enter(tmp_path)
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


def test_counts_follow_the_primary_that_sentinel_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share counts by way of a Sentinel, keep them through a failover, and share them again afterwards (D8)."""
    let_servers_enter(tmp_path)
    monkeypatch.setattr(storage, "SHARED_RETRY_SECONDS", 0.2)
    first, second, third = (servers.free_port() for _ in range(3))
    password = "--requirepass secret --masterauth secret"
    primary = start_redis(tmp_path / "primary", first, password)
    replica = start_redis(tmp_path / "replica", second, f"{password} --replicaof 127.0.0.1 {first}")
    monitor = (
        f"sentinel monitor ours 127.0.0.1 {first} 1\nsentinel auth-pass ours secret\n"
        "sentinel down-after-milliseconds ours 300\nsentinel failover-timeout ours 1000\n"
    )
    sentinel = start_redis(tmp_path / "sentinel", third, "--sentinel --requirepass secret", monitor)
    url = f"redis+sentinel://:secret@127.0.0.1:{third}/ours"
    one, two = WindowCounters(url), WindowCounters(url)
    limit = RateLimitItemPerMinute(3)
    try:
        with redis.Redis(port=second, password="secret") as connection:
            wait_until(lambda: connection.info("replication").get("master_link_status") == "up")
        with redis.Redis(port=third, password="secret") as connection:
            wait_until(lambda: bool(connection.sentinel_slaves("ours")))
        assert [each.hit(limit, "before") for each in (one, two, one, two)] == [True, True, True, False]
        with redis.Redis(port=first, password="secret") as connection:
            connection.wait(1, 2000)
        primary.stop()
        assert one.test(limit, "meanwhile")
        wait_until(lambda: not one.test(limit, "before") and not two.test(limit, "before"))
        assert [each.hit(limit, "after") for each in (one, two, one, two)] == [True, True, True, False]
    finally:
        for counters in (one, two):
            counters.close()
        for server in (sentinel, replica, primary):
            server.stop()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, 20 seconds at most."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_unresponsive_store_delays_by_a_quarter_second(sqlite_engine: Engine) -> None:
    """Start without the store, and wait at most a quarter of a second per request (D8)."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        endpoint = Endpoint(sqlite_engine, FAILURES_PER_CLIENT_AND_ADDRESS=1, THROTTLE_STORAGE_URL=url)
        client = make_client(sqlite_engine)
        began = time.monotonic()
        assert guess(endpoint, client, 5) == [401] + [429] * 4
        assert time.monotonic() - began < 2
        close(endpoint)


@pytest.mark.parametrize(
    "url",
    [
        "memcached://127.0.0.1",
        "redis",
        "",
        "http://127.0.0.1",
        "async+redis://127.0.0.1",
        "redis+sentinel://127.0.0.1:26379",  # without the name of the primary
        "redis+sentinel://127.0.0.1:26379/",
        "redis+sentinel://127.0.0.1/name",  # without a port
        "redis+sentinel://:secret@127.0.0.1:1,/name",
        "redis+cluster://127.0.0.1:1",
    ],
)
def test_invalid_store_url_stops_the_start(sqlite_engine: Engine, url: str) -> None:
    with pytest.raises(SettingsError, match="THROTTLE_STORAGE_URL must be"):
        Endpoint(sqlite_engine, THROTTLE_STORAGE_URL=url)


# What is kept in memory is bounded


def test_number_of_keys_is_bounded() -> None:
    """Keep the most recently used keys under a flood of distinct IDs and addresses."""
    storage = BoundedMemoryStorage(keys_max=100)
    for number in range(1_000):
        assert storage.acquire_entry(f"key-{number}", 1, 300)
        assert not storage.acquire_entry(f"key-{number}", 1, 300)
    assert len(storage) == 100
    assert storage.acquire_entry("key-0", 1, 300)
    assert not storage.acquire_entry("key-999", 1, 300)


def test_expired_windows_are_removed() -> None:
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


def test_cost_does_not_grow_with_the_number_of_keys() -> None:
    """Count in constant time for any number of keys."""
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


def test_token_quota_per_client_and_minute(endpoint: Endpoint) -> None:
    """Limit the tokens of a client per minute (D5)."""
    limited = Endpoint(endpoint.engine, TOKENS_PER_CLIENT_AND_MINUTE=3)
    client, other = make_client(endpoint.engine), make_client(endpoint.engine)
    with time_machine.travel(NOW, tick=False) as clock:
        assert [limited.request_token(client).status_code for _ in range(3)] == [200] * 3
        clock.shift(20)
        assert limited.request_token(client, scope="nothing").status_code == 400  # no token, so it does not count
        assert retry_after(limited.request_token(client)) == 40
        assert limited.request_token(other).status_code == 200
        clock.shift(39)
        assert retry_after(limited.request_token(client)) == 1
        clock.shift(1)
        assert [limited.request_token(client).status_code for _ in range(4)] == [200] * 3 + [429]


def test_no_token_quota_means_no_store_access(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue tokens without store access when no quota is set (D5)."""
    client = make_client(endpoint.engine)
    assert endpoint.request_token(client).status_code == 200
    monkeypatch.delattr(WindowCounters, "_call")
    assert [endpoint.request_token(client).status_code for _ in range(100)] == [200] * 100


def test_export_quota_per_actor_and_hour() -> None:
    """Limit the exports of a person per hour (D5)."""
    rate_limits = make_rate_limits()
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
def test_invalid_quota_stops_the_start(sqlite_engine: Engine, name: str, unfit: int) -> None:
    """Refuse to start with an invalid quota (D5)."""
    given: dict[str, Any] = {name: unfit}
    with pytest.raises(SettingsError, match=f"{name} must be"):
        Endpoint(sqlite_engine, **given)


# The memory of successful checks (S9)


def test_no_long_lived_object_holds_a_sent_secret(sqlite_url: str) -> None:
    """Keep no correct or wrong secret in any object that lives between requests (S9, L4)."""
    engine = make_engine(sqlite_url)
    endpoint = Endpoint(engine)
    canaries = ["canary-right-5f0c9e", "canary-wrong-81d7aa"]
    client = make_client(engine, secret=canaries[0])
    assert [endpoint.request_token(client, canary).status_code for canary in canaries] == [200, 401]
    assert "canary" not in "".join(texts_reachable_from(endpoint.services))
    endpoint.services.rate_limits.count_new_client("canary")
    endpoint.services.rate_limits.count_export("canary")
    assert "canary" in "".join(texts_reachable_from(endpoint.services))
    engine.dispose()


def texts_reachable_from(root: object) -> Iterator[str]:
    """Yield every string that is reachable from an object, without those of the code."""
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
