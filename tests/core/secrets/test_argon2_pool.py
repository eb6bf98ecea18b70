"""The bounds of argon2id computations: at once, waiting, and refused (D7)."""

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
from tests.support.mas import EMAIL, Mas, csrf_token, sign_in
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
    """Leave no pool with the limits of a test behind."""
    yield
    set_pool_size(1)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a tenth of a second for a thread."""
    monkeypatch.setattr(argon2_pool, "WAIT_SECONDS", 0.1)


def test_d7_at_most_four_computations_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """D7: 40 threads hash, verify and compute dummies."""
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


def test_d7_eight_requests_wait_and_the_next_is_refused_at_once() -> None:
    """D7: and those that wait are served in their order once a thread is free."""
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


def test_d7_work_within_work_needs_no_second_thread(monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    """One request computes several hashes in one thread of the pool."""
    monkeypatch.setattr(argon2_pool, "POOL_SIZE_MAX", 1)
    set_pool_size(1)
    assert pool_size() == 1
    assert run_in_pool(lambda: run_in_pool(lambda: "inner")) == "inner"


def test_d7_a_thread_is_waited_for_two_seconds() -> None:
    """D7: then the work is given up before it has begun."""
    done: list[int] = []
    with all_threads_busy():
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            run_in_pool(lambda: done.append(1))
        assert 1.9 < time.monotonic() - began < 4
    assert caught.value.retry_after_seconds == 1
    assert run_in_pool(lambda: done.append(2)) is None
    assert done == [2]


def test_d7_work_that_has_begun_is_waited_for_to_its_end(impatient: None) -> None:
    """D7: the two seconds are for a thread; an error of the work is raised here."""

    def late() -> None:
        time.sleep(0.3)
        raise TimeoutError("of the work itself")

    with pytest.raises(TimeoutError, match="of the work itself"):
        run_in_pool(late)


@pytest.mark.parametrize("path", ["/connect/token", "/connect/introspect", "/connect/revocation"])
def test_d7_without_a_thread_the_endpoint_answers_503(endpoint: Endpoint, path: str, impatient: None) -> None:
    """D7, D2, P13: right and wrong secrets, known and unknown IDs alike; it is no failure, so it counts for none."""
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
    assert limited.ask(client).status_code == 200


def test_d7_a_generated_secret_needs_no_thread(endpoint: Endpoint, impatient: None) -> None:
    """D7: right or wrong, seen before or not."""
    client = make_client(endpoint.engine, secret=GENERATED_SECRET)
    with all_threads_busy():
        assert endpoint.ask(client, GENERATED_SECRET).status_code == 200
        assert endpoint.ask(client, WRONG_GENERATED_SECRET).status_code == 401
        assert endpoint.ask("nobodys-id", WRONG_GENERATED_SECRET).status_code == 401


def test_d7_a_remembered_secret_needs_no_thread(endpoint: Endpoint, impatient: None) -> None:
    client = make_client(endpoint.engine)
    assert endpoint.ask(client).status_code == 200
    with all_threads_busy():
        assert endpoint.ask(client).status_code == 200


def test_d7_without_a_thread_a_renewal_is_left_for_later(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """D7, S1: the secret was right, so the request succeeds."""
    monkeypatch.setattr(SecretHasher, "needs_renewal", lambda *_: True)
    client = make_client(endpoint.engine)

    def busy(*_: object) -> None:
        raise Unavailable(1)

    monkeypatch.setattr(SecretHasher, "hash", busy)
    assert endpoint.ask(client).status_code == 200


def test_d7_without_a_thread_forms_and_sign_in_answer_503(app: Flask, impatient: None) -> None:
    """D7: nothing is created, nobody is signed in, and the person may try again in a second."""
    mas = Mas(app)
    mas.add_user()
    browser = app.test_client()
    assert sign_in(browser).status_code == 303
    form = {
        "client_id": "northwind-api",
        "client_secret": "a-secret-of-good-length",
        "token_duration": "15",
        "roles": "MerchantUser",
        "csrf_token": csrf_token(browser, f"{PREFIX}/new"),
        "creation_key": "once",
    }
    other = app.test_client()
    with all_threads_busy():
        attempts = [sign_in(other, EMAIL) for _ in range(6)]  # more than may fail
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


def test_the_pool_is_made_at_its_first_use() -> None:
    """A server may fork, or replace the threads by its own, after it has imported the application."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", UNUSED], cwd=Path(servers.ROOT), check=True, timeout=30)


def test_d7_a_forked_process_has_threads_of_its_own() -> None:
    """A server that loads the application and forks then: threads do not come along."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], cwd=Path(servers.ROOT), check=True, timeout=30)
