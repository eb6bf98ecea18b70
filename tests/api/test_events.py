"""Events, token requests and roles through the API (L1, L2)."""

from datetime import timedelta
from typing import Any

import pytest

from tests.api.test_clients import links
from tests.support.api import HELD, Api, fields_of, problem_of
from tests.support.factories import make_account, make_client, make_requests
from webapp.core.audit.queries import PAGE_SIZE
from webapp.core.database.models import utc_now
from webapp.core.database.outcomes import AuthenticationFailure


def test_events_have_filters(api: Api) -> None:
    client = make_client(api.engine, client_id="claims-feed")
    api.call("PATCH", f"/clients/{client.id}", {"name": "Name"}, version=1)
    today, tomorrow = (f"{utc_now() + timedelta(days=days):%Y-%m-%d}" for days in (0, 1))
    for arguments, actions in (
        ({"client": "CLAIMS"}, ["edited", "created"]),
        ({"action": "edited"}, ["edited"]),
        ({"actor_id": f"client:{api.caller.id}"}, ["edited"]),
        ({"since": tomorrow}, []),
        ({"client": "claims", "until": today, "since": today}, ["edited", "created"]),
    ):
        assert [event["action"] for event in api.events(**arguments)] == actions, arguments
    path = f"/clients/{client.id}/events"
    [edited, _] = api.call("GET", path).json["items"]  # type: ignore[index]
    assert edited["changes"] == {"name": ["", "Name"]}
    assert edited["address"] == "127.0.0.1"
    assert problem_of(api.call("GET", path, query_string={"client": "x"})) == (400, "malformed-request")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"since": "2026-13-01"}, 400),
        ({"since": "1767225600"}, 400),
        ({"since": "2026-01-01T00:00:00Z"}, 400),
        ({"action": "purged"}, 400),
        ({"actor_id": "a\x00b"}, 400),
        ({"until": "9999-12-31"}, 422),
        ({"until": "0001-01-01"}, 422),
        ({"until": "2199-12-31"}, 200),
        ({"since": "1900-01-01"}, 200),
        ({"after": "x"}, 422),
    ],
)
def test_an_invalid_filter_is_an_error(api: Api, arguments: dict[str, str], status: int) -> None:
    response = api.call("GET", "/events", query_string=arguments)
    assert response.status_code == status
    if status != 200:
        assert fields_of(response) == list(arguments)


def test_links_lead_to_older_events(api: Api) -> None:
    for _ in range(PAGE_SIZE):
        make_client(api.engine)
    first = api.call("GET", "/events")
    second = api.call("GET", links(first)["next"])
    found = [event["id"] for response in (first, second) for event in response.json["items"]]  # type: ignore[index]
    assert len(set(found)) == PAGE_SIZE + 2, "the switch of the account, the caller, and the clients"
    assert set(links(second)) == {"first", "prev"}


def test_l2_token_requests_have_the_true_reason(api: Api) -> None:
    client = make_client(api.engine)
    make_requests(api.engine, client, scope="API")
    make_requests(api.engine, client, outcome=AuthenticationFailure.WRONG_SECRET, secret_label=None)
    items: list[dict[str, Any]] = api.call("GET", f"/clients/{client.id}/token-requests").json["items"]  # type: ignore[index]
    assert [(one["outcome"], one["secret"], one["scope"]) for one in items] == [
        ("wrong secret", None, ""),
        ("issued", "A", "API"),
    ]
    assert items[0]["address"] == "203.0.113.7"


def test_roles_say_which_ones_the_caller_holds(api: Api) -> None:
    make_account(api.engine, grantable_roles=["ManageIdentityClients", "ReportViewer", "CreatePayment"])
    items: list[dict[str, Any]] = api.call("GET", "/roles").json["items"]  # type: ignore[index]
    assert [(role["key"], role["held"], role["moves_money"]) for role in items] == [
        ("ReportViewer", True, False),
        ("CreatePayment", False, True),
        ("ManageIdentityClients", True, False),
    ]
    assert "ReportViewer" in HELD
    assert items[-1]["group"] == "Administration"
    assert items[-1]["scopes"] == ["identity-clients:read", "identity-clients:write"]
