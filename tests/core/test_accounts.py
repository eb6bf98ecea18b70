"""What the identity endpoint stores of a host's accounts (A4, A7)."""

from sqlalchemy import Engine, event

from tests.support.factories import make_account
from webapp.core.accounts import set_account
from webapp.core.database.engine import make_engine
from webapp.core.database.models import Account
from webapp.core.database.unit_of_work import read_session, unit_of_work


def stored_account(engine: Engine, account_id: str) -> tuple[bool, frozenset[str] | None]:
    """Return what is stored of an account."""
    with read_session(engine) as session:
        account = session.get_one(Account, account_id)
        return account.feature_enabled, account.grantable_roles


def test_the_latest_values_of_the_host_apply(engine: Engine) -> None:
    """The host's last values replace the earlier ones (A7)."""
    make_account(engine, "northwind")
    assert stored_account(engine, "northwind") == (True, None)
    make_account(engine, "northwind", grantable_roles=["MerchantUser"])
    assert stored_account(engine, "northwind") == (True, frozenset({"MerchantUser"}))
    make_account(engine, "northwind", feature_enabled=False, grantable_roles=[])
    assert stored_account(engine, "northwind") == (False, frozenset())
    make_account(engine, "harbour")
    assert stored_account(engine, "northwind") == (False, frozenset())


def test_equal_values_write_nothing(engine: Engine) -> None:
    """Every POST of a screen repeats the values."""
    make_account(engine, "northwind", grantable_roles=["MerchantUser", "UploadBatches"])
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2].split()[0]))
    make_account(engine, "northwind", grantable_roles={"UploadBatches", "MerchantUser"})
    assert "SELECT" in statements
    assert not {"INSERT", "UPDATE"} & set(statements)
    make_account(engine, "northwind")
    assert "UPDATE" in statements


def test_concurrent_first_values_of_an_account(postgresql_url: str) -> None:
    """Another process inserts the account after it was looked for. On SQLite this cannot happen (A7)."""
    engine = make_engine(postgresql_url)
    with unit_of_work(engine) as session:
        event.listen(session, "before_flush", lambda *_: make_account(engine, "fable"), once=True)
        set_account(session, "fable", feature_enabled=False, grantable_roles={"MerchantUser"})
    with read_session(engine) as session:
        account = session.get_one(Account, "fable")
    assert (account.feature_enabled, account.grantable_roles) == (False, frozenset({"MerchantUser"}))
    engine.dispose()
