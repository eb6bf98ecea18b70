"""The limits of argon2id computations: how many run, how many wait, and for how long (D7)."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import argon2
import pytest
from flask import Flask

from tests.support import servers
from tests.support.endpoint import Endpoint, argon2_computations
from tests.support.factories import HASHER, PEPPER, SECRET, make_client
from tests.support.host import PREFIX
from tests.support.mas import EMAIL, Mas, creation_form, sign_in
from tests.support.refusals import GENERATED_SECRET, WRONG_GENERATED_SECRET
from webapp.core.errors import Unavailable
from webapp.core.secrets import argon2_pool
from webapp.core.secrets.argon2_pool import POOL_SIZE_MAX, WAITING_MAX, pool_size, run_in_pool, set_pool_size
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.hashing import HashScheme, SecretHasher
from webapp.standalone import users


@contextmanager
def all_threads_busy() -> Iterator[None]:
    """Occupy every thread of the pool until the block ends."""
    end = threading.Event()
    begun = [threading.Event() for _ in range(pool_size())]

    def occupy(event: threading.Event) -> None:
        event.set()
        end.wait()

    with ThreadPoolExecutor(pool_size()) as pool:
        for event in begun:
            pool.submit(run_in_pool, partial(occupy, event))
        assert all(event.wait(5) for event in begun)
        try:
            yield
        finally:
            end.set()


@pytest.fixture(autouse=True)
def _new_pool() -> Iterator[None]:
    """Replace the pool after a test that changed its limits."""
    yield
    set_pool_size(1)


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a thread for a tenth of a second at most."""
    monkeypatch.setattr(argon2_pool, "WAIT_SECONDS", 0.1)


def test_at_most_four_computations_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 threads hash, verify and compute dummies (D7)."""
    monkeypatch.setattr(argon2_pool, "WAITING_MAX", 40)
    set_pool_size(1)
    assert 1 <= pool_size() <= POOL_SIZE_MAX == 4
    hasher, stored = SecretHasher({1: PEPPER}), HASHER.hash(Secret(SECRET))
    password_hash = users.hash_password(SECRET)
    module: Any = sys.modules[argon2.PasswordHasher.__module__]
    now, most, lock = 0, 0, threading.Lock()

    def counted(computation: Callable[..., Any]) -> Callable[..., Any]:
        def compute(*arguments: Any, **options: Any) -> Any:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            try:
                return computation(*arguments, **options)
            finally:
                with lock:
                    now -= 1

        return compute

    works: list[Callable[[], object]] = [
        lambda: hasher.hash(Secret(SECRET)),
        lambda: hasher.verify(Secret(SECRET), stored),
        lambda: hasher.compute_dummy(Secret(SECRET), HashScheme.ARGON2ID),
        lambda: users.is_password(password_hash, SECRET),
    ]
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(40) as pool:
        patch.setattr(argon2_pool, "WAIT_SECONDS", 60)
        for name in ("hash_secret", "verify_secret"):
            patch.setattr(module, name, counted(getattr(module, name)))
        for future in [pool.submit(works[number % 4]) for number in range(40)]:
            future.result()
    assert most == pool_size()


def test_eight_requests_wait_and_the_next_is_refused_at_once() -> None:
    """Waiting requests are served in order once a thread is free (D7)."""
    assert WAITING_MAX == 8
    done: list[int] = []
    with ThreadPoolExecutor(WAITING_MAX) as waiting:
        with all_threads_busy():
            futures = [waiting.submit(run_in_pool, partial(done.append, number)) for number in range(WAITING_MAX)]
            while argon2_pool._get_pool().places._value:
                time.sleep(0.001)
            began = time.monotonic()
            with pytest.raises(Unavailable) as caught:
                run_in_pool(lambda: done.append(-1))
            assert time.monotonic() - began < 0.5
        assert [future.result() for future in futures] == [None] * WAITING_MAX
    assert caught.value.retry_after_seconds == 1
    assert sorted(done) == list(range(WAITING_MAX))
    assert run_in_pool(lambda: "free again") == "free again"


def test_nested_calls_run_in_the_same_thread(monkeypatch: pytest.MonkeyPatch, short_wait: None) -> None:
    """A call within the pool does not wait for a second thread, so it cannot block itself (D7)."""
    monkeypatch.setattr(argon2_pool, "POOL_SIZE_MAX", 1)
    set_pool_size(1)
    assert pool_size() == 1
    assert run_in_pool(lambda: run_in_pool(lambda: "inner")) == "inner"


def test_a_request_waits_two_seconds_for_a_thread() -> None:
    """After that the call is cancelled before it has started (D7)."""
    done: list[int] = []
    with all_threads_busy():
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            run_in_pool(lambda: done.append(1))
        assert 1.9 < time.monotonic() - began < 4
    assert caught.value.retry_after_seconds == 1
    assert run_in_pool(lambda: done.append(2)) is None
    assert done == [2]


def test_a_started_call_is_never_cut_short(short_wait: None) -> None:
    """The two seconds apply to the wait for a thread, and an exception of the call is raised to the caller (D7)."""

    def late() -> None:
        time.sleep(0.3)
        raise TimeoutError("of the work itself")

    with pytest.raises(TimeoutError, match="of the work itself"):
        run_in_pool(late)


@pytest.mark.parametrize("path", ["/connect/token", "/connect/introspect", "/connect/revocation"])
def test_without_a_thread_the_endpoint_answers_503(endpoint: Endpoint, path: str, short_wait: None) -> None:
    """The answer is the same for any ID and secret, and counts as no failed authentication (D7, D2, P13)."""
    limited = Endpoint(endpoint.engine, FAILURES_PER_CLIENT_AND_ADDRESS=1)
    client = make_client(endpoint.engine)
    with argon2_computations() as hashed, all_threads_busy():
        for client_id in (client.client_id, "nobodys-id"):
            for secret in (SECRET, "a-wrong-secret"):
                form = {
                    "grant_type": "client_credentials",
                    "client_id": client_id,
                    "client_secret": secret,
                    "token": "none",
                }
                response = limited.client.post(path, data=form)
                assert (response.status_code, response.json) == (503, {"error": "temporarily_unavailable"})
                assert response.headers["Retry-After"] == "1"
                assert response.headers["Cache-Control"] == "no-store"
    assert not hashed
    assert limited.request_token(client).status_code == 200


def test_a_generated_secret_needs_no_thread(endpoint: Endpoint, short_wait: None) -> None:
    """Right or wrong, verified before or not (D7)."""
    client = make_client(endpoint.engine, secret=GENERATED_SECRET)
    with all_threads_busy():
        assert endpoint.request_token(client, GENERATED_SECRET).status_code == 200
        assert endpoint.request_token(client, WRONG_GENERATED_SECRET).status_code == 401
        assert endpoint.request_token("nobodys-id", WRONG_GENERATED_SECRET).status_code == 401


def test_a_cached_secret_needs_no_thread(endpoint: Endpoint, short_wait: None) -> None:
    """A secret that was verified before needs no computation (D7)."""
    client = make_client(endpoint.engine)
    assert endpoint.request_token(client).status_code == 200
    with all_threads_busy():
        assert endpoint.request_token(client).status_code == 200


def test_without_a_thread_the_hash_is_renewed_later(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret was right, so the request succeeds (D7, S1)."""
    monkeypatch.setattr(SecretHasher, "needs_renewal", lambda *_: True)
    client = make_client(endpoint.engine)

    def busy(*_: object) -> None:
        raise Unavailable(1)

    monkeypatch.setattr(SecretHasher, "hash", busy)
    assert endpoint.request_token(client).status_code == 200


def test_without_a_thread_forms_and_sign_in_answer_503(app: Flask, short_wait: None) -> None:
    """No client is created, no user is signed in, and `Retry-After` is one second (D7)."""
    mas = Mas(app)
    mas.add_user()
    browser = app.test_client()
    assert sign_in(browser).status_code == 303
    form = creation_form(browser, "northwind-api")
    other = app.test_client()
    with all_threads_busy():
        attempts = [sign_in(other, EMAIL) for _ in range(6)]  # more than the sign-in limit
        for response in (browser.post(f"{PREFIX}/new", data=form), *attempts):
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "1"
        for path in ("/healthz", "/readyz", "/login"):
            assert other.get(path).status_code == 200
        assert browser.get(PREFIX).status_code == 200
    assert browser.post(f"{PREFIX}/new", data=form).status_code == 200
    assert sign_in(other, EMAIL).status_code == 303


FORKS = """
import os
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.hashing import HashScheme, SecretHasher
hasher = SecretHasher({1: b"x" * 32})
stored = hasher.hash(Secret("secret"))
child = os.fork()
assert hasher.verify(Secret("secret"), stored)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


UNUSED = """
import threading
before = threading.active_count()
import webapp.core.secrets.hashing
import webapp.standalone
from webapp.core.secrets import argon2_pool
assert argon2_pool._pool is None
assert threading.active_count() == before
"""


def test_the_pool_is_created_at_its_first_use() -> None:
    """A server may fork after it has imported the application."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", UNUSED], cwd=Path(servers.ROOT), check=True, timeout=30)


def test_a_forked_process_has_threads_of_its_own() -> None:
    """Threads do not survive a fork, as of a server that loads the application first (D7)."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], cwd=Path(servers.ROOT), check=True, timeout=30)
