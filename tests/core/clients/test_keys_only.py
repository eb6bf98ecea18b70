"""The rule of an account that clients with roles that move money have no secret, only keys (S11)."""

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from tests.support.clients import create, edit, stored, values_of
from tests.support.factories import (
    ACCOUNT,
    CATALOGUE,
    OTHER_ACCOUNT,
    make_account,
    make_author,
    make_client,
    make_values,
)
from tests.support.keys import add_key, private_key, private_pem, public_pem
from tests.support.secrets import change, end, leak
from webapp.core.account_settings import keys_only_roles, renew_keys_only_roles, set_keys_only
from webapp.core.clients import attention
from webapp.core.clients.attention import AttentionReason
from webapp.core.clients.attention_queries import summary
from webapp.core.database.models import AuditEvent, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import FieldError, InvalidFields
from webapp.core.secrets.errors import SecretNotAllowed

MONEY, HARMLESS = frozenset({"MerchantUser", "CreatePayment"}), frozenset({"MerchantUser"})
PEM = public_pem(private_key())


def forbid(engine: Engine, *, enabled: bool = True) -> None:
    """Switch the rule on or off, as an administrator does."""
    make_account(engine)
    with unit_of_work(engine) as session:
        set_keys_only(session, author=make_author(), money_roles=CATALOGUE.money_roles, enabled=enabled)


def fields_of(act: Callable[[], object]) -> list[str]:
    """Return the fields that an action refuses, none where it succeeds."""
    try:
        act()
    except InvalidFields as invalid:
        return [error.field for error in invalid.errors]
    except FieldError as error:
        return [error.field]
    return []


CREATIONS: list[tuple[bool, Collection[str], dict[str, Any], list[str]]] = [
    # rule, roles, credential, refused fields
    (False, MONEY, {}, []),
    (False, MONEY, {"secret": None, "public_key": PEM}, []),
    (False, MONEY, {"secret": None}, ["public_key"]),
    (True, HARMLESS, {}, []),
    (True, HARMLESS, {"secret": None, "public_key": PEM}, []),
    (True, MONEY, {}, ["public_key"]),
    (True, MONEY, {"secret": None, "public_key": PEM}, []),
    (True, MONEY, {"secret": None, "public_key": private_pem(private_key())}, ["public_key"]),
    (True, MONEY, {"secret": None, "public_key": "no key"}, ["public_key"]),
    (True, MONEY, {"secret": None, "public_key": PEM, "ends_at": utc_now() + timedelta(days=1)}, ["ends_at"]),
]


@pytest.mark.parametrize(("rule", "roles", "credential", "refused"), CREATIONS)
def test_creation(engine: Engine, rule: bool, roles: Collection[str], credential: Any, refused: list[str]) -> None:
    """With such a role a client is created with a key in place of the secret."""
    forbid(engine, enabled=rule)
    values = make_values(roles=frozenset(roles))
    assert fields_of(lambda: create(engine, values=values, **credential)) == refused
    with read_session(engine) as session:
        clients = session.scalars(select(IdentityClient)).all()
        assert [len(client.roles) for client in clients] == ([] if refused else [len(roles)])
    if not refused:
        client = stored(engine, clients[0].id)
        with_key = "public_key" in credential
        assert [len(client.secrets), len(client.keys)] == ([0, 1] if with_key else [1, 0])


def test_a_client_of_before_keeps_its_secret_and_gets_no_other(engine: Engine) -> None:
    """Nothing ends by itself; its name can be edited, its secret cannot be changed, and a leak can be answered."""
    client = make_client(engine, roles=MONEY)
    forbid(engine)
    edited = edit(engine, client, values=values_of(client, name="Another name"))
    with pytest.raises(SecretNotAllowed):
        change(engine, edited)
    assert fields_of(lambda: edit(engine, edited, secret="another secret of it")) == ["client_secret"]
    client, _ = leak(engine, edited)
    forbid(engine, enabled=False)
    change(engine, client)


def test_a_role_that_moves_money_needs_the_secrets_to_end_first(engine: Engine) -> None:
    forbid(engine)
    client = make_client(engine, roles=HARMLESS)
    assert fields_of(lambda: edit(engine, client, values=values_of(client, roles=MONEY))) == ["roles"]
    add_key(engine, client)
    ended = end(engine, stored(engine, client.id), "A")
    assert edit(engine, ended, values=values_of(ended, roles=MONEY)).roles == MONEY


def test_attention_lasts_until_the_secret_ends(engine: Engine) -> None:
    """Of enabled clients of the account only; the summary agrees."""

    def needing() -> list[bool]:
        found = []
        with read_session(engine) as session:
            for client in (concerned, disabled, harmless, foreign):
                reasons = attention.reasons(session, client.account_id, [session.get_one(IdentityClient, client.id)])
                found.append(AttentionReason.SECRET in {one.reason for one in reasons.get(client.id, [])})
            assert summary(session, ACCOUNT).by_reason.get(AttentionReason.SECRET, 0) == sum(found)
        return found

    concerned, disabled = make_client(engine, roles=MONEY), make_client(engine, roles=MONEY, enabled=False)
    harmless, foreign = make_client(engine, roles=HARMLESS), make_client(engine, account_id=OTHER_ACCOUNT, roles=MONEY)
    assert needing() == [False] * 4
    forbid(engine)
    assert needing() == [True, False, False, False]
    edit(engine, disabled, enabled=True)
    assert needing() == [True, True, False, False]
    add_key(engine, concerned)
    end(engine, stored(engine, concerned.id), "A")
    assert needing() == [False, True, False, False]
    client = stored(engine, disabled.id)
    edit(engine, client, values=values_of(client, roles=HARMLESS))
    assert needing() == [False] * 4


def test_the_rule_is_an_audit_event_and_follows_the_catalogue(engine: Engine) -> None:
    """Each change once (L1). A role that moves money in a newer catalogue is included from the next change on."""
    for enabled in (True, True, False):
        forbid(engine, enabled=enabled)
        with unit_of_work(engine) as session:
            renew_keys_only_roles(session, ACCOUNT, {*CATALOGUE.money_roles, "NewRole"})
        with read_session(engine) as session:
            assert ("NewRole" in keys_only_roles(session, ACCOUNT)) is enabled
            assert keys_only_roles(session, OTHER_ACCOUNT) == frozenset()
    with read_session(engine) as session:
        changes = session.scalars(select(AuditEvent.changes).order_by(AuditEvent.id)).all()
    assert changes == [{"keys_only": [False, True]}, {"keys_only": [True, False]}]


def test_values_of_a_client_with_a_key_only(engine: Engine) -> None:
    """It is edited like any other, and a wrong key is one of all errors."""
    forbid(engine)
    client = create(engine, values=make_values(roles=MONEY), secret=None, public_key=PEM)
    assert edit(engine, client, values=values_of(client, name="A name")).name == "A name"
    values = make_values(client_id="x", roles=MONEY)
    assert fields_of(lambda: create(engine, values=values)) == ["client_id", "public_key"]
