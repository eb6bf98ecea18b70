"""The quota of new clients, on both engines and in the form (D5)."""

from datetime import UTC, datetime

import pytest
import time_machine
from sqlalchemy import Engine, func, select

from tests.support.clients import create
from tests.support.factories import OTHER_ACCOUNT, make_account, make_author, make_rate_limits, make_values
from tests.support.host import HARBOUR, Host, make_host
from tests.support.markup import read
from tests.support.screens import SECRET, VALUES
from webapp.core.clients.service import AlreadyCreated
from webapp.core.database.models import IdentityClient
from webapp.core.database.unit_of_work import read_session
from webapp.core.errors import InvalidFields, TooManyNewClients

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_new_clients_of_an_account_in_an_hour(engine: Engine) -> None:
    """All people of an account share it; only created clients count (D5)."""
    for account_id in (make_author().account_id, OTHER_ACCOUNT):
        make_account(engine, account_id)
    rate_limits = make_rate_limits(new_clients_per_account_and_hour=2)
    with time_machine.travel(NOW, tick=False) as clock:
        create(engine, rate_limits=rate_limits, creation_key="one")
        clock.shift(600)
        for _ in range(3):
            with pytest.raises(InvalidFields):
                create(engine, rate_limits=rate_limits, values=make_values(token_duration="9"))
            with pytest.raises(AlreadyCreated):
                create(engine, rate_limits=rate_limits, creation_key="one")
        create(engine, rate_limits=rate_limits, author=make_author(actor_id="somebody else"))
        with pytest.raises(TooManyNewClients) as caught:
            create(engine, rate_limits=rate_limits)
        assert caught.value.retry_after_seconds == 3000
        create(engine, rate_limits=rate_limits, author=make_author(OTHER_ACCOUNT))
        clock.shift(3000)
        create(engine, rate_limits=rate_limits)
    with read_session(engine) as session:
        assert session.scalar(select(func.count()).select_from(IdentityClient)) == 4


def test_without_the_setting_there_is_no_quota(host: Host) -> None:
    """The number of new clients is not limited (D5)."""
    for number in range(12):
        assert host.post("/new", {**VALUES, "client_id": f"acme-claims-{number}"}).status_code == 200


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_beyond_the_quota_create_is_429_and_what_was_typed_is_kept(host: Host, htmx: bool) -> None:
    """With htmx the form is left as it is; otherwise the page has the typed values but not the secret (S6, D5)."""
    strict = make_host(host.engine, new_clients_per_account_and_hour=1)
    assert strict.post("/new", {**VALUES, "client_id": "the-first-one"}, htmx=htmx).status_code == 200
    answer = strict.post("/new", VALUES, htmx=htmx)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    assert SECRET not in answer.text
    if htmx:
        assert "<form" not in answer.text
    else:
        assert read(answer).value("client_id") == VALUES["client_id"]
        assert read(answer).value("name") == VALUES["name"]
        assert "your account made as many clients as it may in an hour" in answer.text
    strict.actor = HARBOUR
    assert strict.post("/new", VALUES, htmx=htmx).status_code == 200
