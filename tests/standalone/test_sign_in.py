"""Sign-in (D6, W6)."""

import argon2
import pytest
import time_machine
from flask.testing import FlaskClient

from tests.support.mas import EMAIL, PASSWORD, Mas, csrf_token, is_signed_in, sign_in
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.core.errors import FieldError
from webapp.standalone import create_app, users
from webapp.standalone.redirects import safe_next

LIST = "/administration/identity-clients"


class CountingHasher(argon2.PasswordHasher):
    """Wrap argon2 and count its computations."""

    computations = 0

    def hash(self, *arguments: object, **options: object) -> str:
        self.computations += 1
        return super().hash(*arguments, **options)  # type: ignore[arg-type]

    def verify(self, *arguments: object, **options: object) -> bool:  # type: ignore[override]
        self.computations += 1
        return super().verify(*arguments, **options)  # type: ignore[arg-type]


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> CountingHasher:
    """Return the hasher that the application uses from now on."""
    counting = CountingHasher(time_cost=2, memory_cost=19456, parallelism=1)
    monkeypatch.setattr(users, "_HASHER", counting)
    return counting


def test_signing_in_and_the_address_in_any_letter_case(mas: Mas, client: FlaskClient) -> None:
    mas.add_user()
    answer = sign_in(client, f" {EMAIL.upper()} ")
    assert (answer.status_code, answer.location) == (303, "/")
    assert is_signed_in(client)


@pytest.mark.parametrize("length", [11, 12, 128, 129])
def test_a_password_has_12_to_128_characters(length: int) -> None:
    """The limits count characters, not bytes (D6)."""
    if 12 <= length <= 128:
        assert users.is_password(users.hash_password("ü" * length), "u\u0308" * length)
    else:
        with pytest.raises(FieldError, match="12 to 128"):
            users.hash_password("ü" * length)


def test_passwords_are_kept_as_argon2id() -> None:
    """With the parameters that OWASP recommends (D6, S1)."""
    kept = argon2.extract_parameters(users.hash_password(PASSWORD))
    assert (kept.type, kept.memory_cost, kept.time_cost, kept.parallelism) == (argon2.Type.ID, 19456, 2, 1)


def test_every_refusal_looks_and_costs_the_same(mas: Mas, hasher: CountingHasher) -> None:
    """Unknown name, wrong password, disabled user or account: equal text, one hash computation (D6)."""
    mas.add_user()
    mas.add_user("gone@company.test")
    mas.run("user", "disable", "gone@company.test")
    mas.add_user("shut@other.test", account="Other")
    mas.run("account", "disable", "Other")
    bodies = set()
    for email, password in (
        ("nobody@company.test", PASSWORD),
        (EMAIL, "a wrong password"),
        ("gone@company.test", PASSWORD),
        ("shut@other.test", PASSWORD),
        ("not an address \x00", PASSWORD),
    ):
        client, before = mas.app.test_client(), hasher.computations
        token = csrf_token(client)
        answer = client.post("/login", data={"email": email, "password": password, "csrf_token": token})
        assert answer.status_code == 422
        assert hasher.computations - before == 1
        bodies.add(answer.text.replace(email.replace("\x00", "\x00"), "EMAIL").replace(token, "TOKEN"))
    assert len({body.split("</form>")[1] for body in bodies}) == 1
    assert len({body.split("<form")[0] for body in bodies}) == 1


def test_the_sixth_attempt_is_429_before_any_hash(mas: Mas, client: FlaskClient, hasher: CountingHasher) -> None:
    """5 failures per name and address in 15 minutes, then 429 with Retry-After even for the right password (D6)."""
    mas.add_user()
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        for _ in range(5):
            assert sign_in(client, password="a wrong password").status_code == 422
        before = hasher.computations
        refused = sign_in(client, EMAIL.upper())
        assert refused.status_code == 429
        assert hasher.computations == before
        assert "Wait 15 minutes" in refused.text
        wait = int(refused.headers["Retry-After"])
        assert 1 <= wait <= 15 * 60 + 1
        assert sign_in(client, "other@company.test").status_code == 422, "another name is not limited yet"
        other_address = sign_in(mas.app.test_client(), environ_base={"REMOTE_ADDR": "192.0.2.9"})
        assert other_address.status_code == 303, "failures from another address do not lock the person out"
        clock.shift(wait)
        assert sign_in(client).status_code == 303


def test_success_resets_the_failures(mas: Mas, client: FlaskClient) -> None:
    """A person who sometimes mistypes is never limited (D6)."""
    mas.add_user()
    for _ in range(3):
        for _ in range(4):
            assert sign_in(client, password="a wrong password").status_code == 422
        assert sign_in(client).status_code == 303


@pytest.mark.parametrize(
    ("addresses", "throttled"),
    [
        (["192.0.2.1"], True),
        ([f"2001:db8:1:2::{host:x}" for host in range(1, 21)], True),  # one /64
        ([f"2001:db8:1:{net:x}::1" for net in range(1, 21)], False),
        ([f"192.0.2.{host}" for host in range(1, 21)], False),
        (["192.0.2.1", "::ffff:192.0.2.1"], True),
    ],
)
def test_twenty_failures_per_address(mas: Mas, addresses: list[str], throttled: bool) -> None:
    """With any names; an IPv6 /64 counts as one address, a mapped IPv4 address as itself (D6)."""
    client = mas.app.test_client()
    for attempt in range(20):
        base = {"REMOTE_ADDR": addresses[attempt % len(addresses)]}
        assert sign_in(client, f"user{attempt}@company.test", environ_base=base).status_code == 422
    answer = sign_in(client, "one-more@company.test", environ_base={"REMOTE_ADDR": addresses[0]})
    assert answer.status_code == (429 if throttled else 422)


def test_processes_share_the_count_in_redis(sqlite_url: str, redis_url: str) -> None:
    """Two processes count together (D6)."""
    settings = PRODUCTION_SETTINGS | {
        "IDENTITY_CLIENTS_DATABASE_URL": sqlite_url,
        "IDENTITY_CLIENTS_THROTTLE_STORAGE_URL": redis_url,
    }
    clients = [create_app(settings).test_client() for _ in range(2)]
    answers = [sign_in(clients[attempt % 2], password="a wrong password").status_code for attempt in range(6)]
    assert answers == [422] * 5 + [429]


@pytest.mark.parametrize(
    ("values", "message", "kept"),
    [
        ({"email": "", "password": PASSWORD}, "Enter your e-mail address.", ""),
        ({"email": EMAIL, "password": ""}, "Enter your password.", EMAIL),
        ({"email": '"><script>alert(1)</script>', "password": "x"}, "is wrong", "&#34;&gt;&lt;script&gt;"),
    ],
)
def test_an_invalid_form_shows_a_message(client: FlaskClient, values: dict[str, str], message: str, kept: str) -> None:
    answer = client.post("/login", data=values | {"csrf_token": csrf_token(client)})
    assert answer.status_code == 422
    assert "<title>Error: Sign in" in answer.text
    assert message in answer.text
    assert kept in answer.text
    assert PASSWORD not in answer.text


def test_a_form_of_another_session_is_refused(mas: Mas, client: FlaskClient) -> None:
    """Its CSRF token is not valid, so nobody can be signed in by a foreign form (W4)."""
    mas.add_user()
    foreign = csrf_token(mas.app.test_client())
    for token in ({"csrf_token": foreign}, {}):
        answer = client.post("/login", data={"email": EMAIL, "password": PASSWORD} | token)
        assert answer.status_code == 422
        assert "Press Sign in again" in answer.text
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/%5Cevil.example",
        "/%5cevil.example",
        "/%2Fevil.example",
        "/%09/evil.example",
        "/\t/evil.example",
        "/%0d%0aLocation:%20https://evil.example",
        "/%00",
        "/\x85/evil.example",
        f"{LIST}/%5Cevil.example",
        f"{LIST}/%0d%0aevil",
        "https://evil.example",
        "https:evil.example",
        "http:///evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        "@evil.example",
        " //evil.example",
        "/ /evil.example",
        "/logout",
        "/login",
        "/nowhere",
        "//[",
        "",
    ],
)
def test_a_forged_next_leads_to_the_start_page(mas: Mas, client: FlaskClient, target: str) -> None:
    """Other sites and schemes, backslashes, control characters, and pages without GET (W6)."""
    with mas.app.test_request_context():
        assert safe_next(target) == "/"
    mas.add_user()
    answer = client.post(
        "/login",
        query_string={"next": target},
        data={"email": EMAIL, "password": PASSWORD, "csrf_token": csrf_token(client)},
    )
    assert (answer.status_code, answer.location) == (303, "/")


@pytest.mark.parametrize("target", ["/", LIST, f"{LIST}?q=a%20b&status=enabled", f"{LIST}/new?copy=1"])
def test_next_with_a_page_of_ours_is_followed(mas: Mas, client: FlaskClient, target: str) -> None:
    """With its query (W6)."""
    mas.add_user()
    asked = client.get(target)
    assert asked.status_code == 303
    answer = sign_in(client, path=asked.location)
    assert (answer.status_code, answer.location) == (303, target)


def test_next_below_a_sub_path(mas: Mas) -> None:
    """A page beside the sub-path is not accepted (W6)."""
    mas.add_user()
    below = {"base_url": "https://localhost/identity"}
    for target in ("/", f"{LIST}?q=a"):
        client = mas.app.test_client()
        asked = client.get(target, **below)
        assert asked.location.startswith("/identity/login?next=%2Fidentity")
        answer = sign_in(client, path=asked.location.removeprefix("/identity"), **below)
        assert (answer.status_code, answer.location) == (303, f"/identity{target}")
    with mas.app.test_request_context(**below):
        for beside in (LIST, "/identity-of-another/", "/other"):
            assert safe_next(beside) == "/identity/"
