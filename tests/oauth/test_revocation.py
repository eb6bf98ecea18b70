"""Revocation of one token by its client (RFC 7009, T12), and of all tokens of a client (T13)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import jwt
import pytest
import time_machine
from sqlalchemy import Engine, func, select

from tests.support.concurrency import run_concurrently
from tests.support.endpoint import Endpoint, add_api, change_client
from tests.support.factories import OTHER_ACCOUNT, SECRET, make_author, make_client
from webapp.core import client_changes
from webapp.core.database.engine import make_engine
from webapp.core.database.models import AuditEvent, IdentityClient, RevokedToken, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import NotFound
from webapp.core.tokens import revocation
from webapp.core.tokens.signing import CLOCK_SKEW

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def is_active(endpoint: Endpoint, token: str, caller: tuple[str, str]) -> bool:
    return bool((endpoint.introspect(token, caller).json or {})["active"])


def records(engine: Engine) -> list[RevokedToken]:
    with read_session(engine) as session:
        return list(session.scalars(select(RevokedToken)))


def test_client_revokes_only_the_sent_token(each_endpoint: Endpoint) -> None:
    """Revoke the sent token of the client and keep its others (T12)."""
    client, api = make_client(each_endpoint.engine), add_api(each_endpoint.engine)
    token, other = each_endpoint.token(client), each_endpoint.token(client)
    processes = (each_endpoint, Endpoint(each_endpoint.engine))
    for _ in range(2):  # the second time it is revoked already
        response = each_endpoint.revoke(token, client)
        assert (response.status_code, response.data) == (200, b"")
        assert [is_active(process, token, api) for process in processes] == [False, False]
    assert is_active(each_endpoint, other, api)
    (record,) = records(each_endpoint.engine)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (record.jti, record.expires_at.timestamp()) == (claims["jti"], claims["exp"])


def expired(endpoint: Endpoint, client: IdentityClient) -> str:
    with time_machine.travel(utc_now() - timedelta(hours=1, seconds=1)):
        return endpoint.token(client)


def of_a_withdrawn_key(endpoint: Endpoint, client: IdentityClient) -> str:
    token = endpoint.token(client)
    endpoint.services.keys.withdraw(endpoint.services.keys.signing_key(utc_now()).kid, utc_now(), "tests")
    return token


UNREVOCABLE_TOKENS: dict[str, Callable[[Endpoint, IdentityClient], str]] = {
    "garbage": lambda _, __: "garbage",
    "not ASCII": lambda _, __: "é",
    "changed": lambda endpoint, client: endpoint.token(client).replace(".", ".A", 1),
    "expired": expired,
    "of a withdrawn key": of_a_withdrawn_key,
}


@pytest.mark.parametrize("kind", UNREVOCABLE_TOKENS)
def test_invalid_tokens_need_no_revocation(endpoint: Endpoint, kind: str) -> None:
    """Return 200 and store nothing for malformed, expired and withdrawn-key tokens (T12)."""
    client = make_client(endpoint.engine)
    response = endpoint.revoke(UNREVOCABLE_TOKENS[kind](endpoint, client), client)
    assert (response.status_code, response.data) == (200, b"")
    assert records(endpoint.engine) == []


@pytest.mark.parametrize("account", ["northwind", OTHER_ACCOUNT])
def test_token_of_another_client_stays_active(each_endpoint: Endpoint, account: str) -> None:
    """Return 200, and keep another client's token active (T12)."""
    client, api = make_client(each_endpoint.engine), add_api(each_endpoint.engine)
    other = make_client(each_endpoint.engine, account_id=account)
    token = each_endpoint.token(client)
    response = each_endpoint.revoke(token, other)
    assert (response.status_code, response.json) == (
        400,
        {"error": "invalid_grant", "error_description": "The token was issued to another client."},
    )
    assert is_active(each_endpoint, token, api)
    assert each_endpoint.revoke(token, (client.client_id, "a-wrong-secret")).status_code == 401
    assert is_active(each_endpoint, token, api)


def test_client_revokes_tokens_of_its_former_id(each_endpoint: Endpoint) -> None:
    """Revoke a token that was issued under a former client ID (T3, T12)."""
    engine = each_endpoint.engine
    client, api, other = make_client(engine, client_id="northwind-old"), add_api(engine), make_client(engine)
    token = each_endpoint.token(client)
    change_client(engine, client, client_id="northwind-new", client_id_folded="northwind-new")
    assert each_endpoint.revoke(token, other).status_code == 400
    assert is_active(each_endpoint, token, api)
    assert each_endpoint.revoke(token, ("northwind-new", SECRET)).status_code == 200
    assert not is_active(each_endpoint, token, api)


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "something-else", ""])
def test_token_type_hint_is_ignored(endpoint: Endpoint, hint: str) -> None:
    """Ignore `token_type_hint` (T12)."""
    client, api = make_client(endpoint.engine), add_api(endpoint.engine)
    token = endpoint.token(client)
    assert endpoint.revoke(token, client, token_type_hint=hint).status_code == 200
    assert not is_active(endpoint, token, api)


def test_missing_token_parameter_is_refused(endpoint: Endpoint) -> None:
    """Return invalid_request without the `token` parameter (T12)."""
    client = make_client(endpoint.engine)
    form = {"client_id": client.client_id, "client_secret": SECRET}
    response = endpoint.post(form, "/connect/revocation")
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_request")
    assert endpoint.post({**form, "client_secret": "a-wrong-secret"}, "/connect/revocation").status_code == 401


def test_concurrent_revocations_of_one_token(each_endpoint: Endpoint) -> None:
    """Store one record for concurrent revocations of a token (T12)."""
    client = make_client(each_endpoint.engine)
    token = each_endpoint.token(client)
    claims = jwt.decode(token, options={"verify_signature": False})

    def revoke() -> None:
        engine = make_engine(each_endpoint.engine.url.render_as_string(hide_password=False))
        with unit_of_work(engine) as session:
            revocation.revoke_token(session, claims)
        engine.dispose()

    assert run_concurrently([revoke] * 6) == [None] * 6
    assert len(records(each_endpoint.engine)) == 1


# All of a client's tokens


def revoke_all(engine: Engine, client: IdentityClient) -> None:
    with unit_of_work(engine) as session:
        client_changes.revoke_tokens(session, author=make_author(client.account_id), key=client.id)


@time_machine.travel(NOW, tick=False)
def test_revoke_all_ends_earlier_tokens_only(each_endpoint: Endpoint) -> None:
    """Keep a token of the same second that is issued after revoking all, across two processes (T13)."""
    client, api = make_client(each_endpoint.engine), add_api(each_endpoint.engine)
    processes = (each_endpoint, Endpoint(each_endpoint.engine))
    untouched = each_endpoint.token(make_client(each_endpoint.engine))
    earlier: list[str] = []
    for _ in range(2):
        earlier += [process.token(client) for process in processes]
        revoke_all(each_endpoint.engine, client)
        later = [process.token(client) for process in processes]
        for process in processes:
            assert not any(is_active(process, token, api) for token in earlier)
            assert all(is_active(process, token, api) for token in [*later, untouched])
        earlier += later


def test_revoke_all_is_audited_and_keeps_the_version(engine: Engine) -> None:
    """Record the event, and keep the version so that an open edit form can still be saved (T13, L1)."""
    client = make_client(engine)
    author = make_author(label="Hannah", address="192.0.2.7")
    with unit_of_work(engine) as session:
        client_changes.revoke_tokens(session, author=author, key=client.id)
    with read_session(engine) as session:
        now = session.get_one(IdentityClient, client.id)
        event = session.scalars(select(AuditEvent).order_by(AuditEvent.id.desc()).limit(1)).one()
    assert (now.version, now.updated_at, now.token_generation) == (client.version, client.updated_at, 1)
    assert (event.action, event.client_key, event.client_id) == ("tokens revoked", client.id, client.client_id)
    assert (event.account_id, event.actor_label, event.address) == (client.account_id, "Hannah", "192.0.2.7")


@pytest.mark.parametrize("reason", ["another account", "deleted"])
def test_revoke_all_of_another_account_is_not_found(engine: Engine, reason: str) -> None:
    """Refuse to revoke tokens of another account's client (A3)."""
    client = make_client(engine, deleted_at=NOW if reason == "deleted" else None)
    author = make_author(OTHER_ACCOUNT if reason == "another account" else client.account_id)
    with pytest.raises(NotFound), unit_of_work(engine) as session:
        client_changes.revoke_tokens(session, author=author, key=client.id)
    with read_session(engine) as session:
        assert session.get_one(IdentityClient, client.id).token_generation == 0
        assert session.scalar(select(func.count()).where(AuditEvent.action == "tokens revoked")) == 0


def test_concurrent_revoke_all(engine: Engine) -> None:
    """Accept two concurrent revocations of all tokens (T13)."""
    client = make_client(engine)

    def revoke() -> None:
        own = make_engine(engine.url.render_as_string(hide_password=False))
        revoke_all(own, client)
        own.dispose()

    assert run_concurrently([revoke] * 2) == [None] * 2
    with read_session(engine) as session:
        assert session.get_one(IdentityClient, client.id).token_generation == 2


# Purging


@pytest.mark.parametrize(
    ("after_end", "purged"), [(-SECOND, 0), (timedelta(0), 0), (CLOCK_SKEW - SECOND, 0), (CLOCK_SKEW, 1)]
)
def test_revocation_record_is_kept_until_token_expiry(
    each_endpoint: Endpoint, after_end: timedelta, purged: int
) -> None:
    """Purge a record after the token has expired by the clock of every host (T13)."""
    client, api = make_client(each_endpoint.engine, token_duration=10), add_api(each_endpoint.engine)
    with time_machine.travel(NOW, tick=False):
        token = each_endpoint.token(client)
        each_endpoint.revoke(token, client)
    end = NOW + timedelta(minutes=10)
    with unit_of_work(each_endpoint.engine) as session:
        assert revocation.purge_revoked_tokens(session, end + after_end) == purged
    with time_machine.travel(end - SECOND, tick=False):
        # What comes of a purge before the end, by a clock that is far ahead, shows that the record is what counts.
        assert is_active(each_endpoint, token, api) is bool(purged)
