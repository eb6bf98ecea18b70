"""Events, token requests and roles through the API (L1, L2)."""

from datetime import timedelta
from typing import Any

import pytest

from tests.api.test_clients import links
from tests.support.api import HELD, Api, fields_of, problem_of
from tests.support.factories import OTHER_ACCOUNT, make_account, make_client, make_requests
from webapp.core.audit.pages import PAGE_SIZE
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
    assert len(set(found)) == PAGE_SIZE + 2, "the account's switch, the caller, and the clients"
    assert set(links(second)) == {"first", "prev"}


def requests_of(api: Api, path: str = "/token-requests", **arguments: str) -> list[tuple[Any, ...]]:
    response = api.call("GET", path, query_string=arguments)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json["items"]  # type: ignore[index]
    return [(one["client_id"], one["outcome"], one["secret"], one["scope"], one["address"]) for one in items]


def test_token_requests_have_the_true_reason_and_filters(api: Api) -> None:
    """Of the account and of one client, the own ones only; the caller of the endpoint does not see the reason (L2)."""
    now = utc_now().replace(second=30)
    client, other = make_client(api.engine, client_id="claims-feed"), make_client(api.engine, client_id="ledger-feed")
    foreign = make_client(api.engine, account_id=OTHER_ACCOUNT)
    make_requests(api.engine, client, scope="API", at=now - timedelta(minutes=10))
    wrong = AuthenticationFailure.WRONG_SECRET
    make_requests(api.engine, client, outcome=wrong, secret_label=None, at=now - timedelta(minutes=5))
    make_requests(api.engine, other, address="2001:db8::1", at=now)
    make_requests(api.engine, foreign, at=now)
    issued = ("claims-feed", "issued", "A", "API", "203.0.113.7")
    refused = ("claims-feed", "wrong secret", None, "", "203.0.113.7")
    others = ("ledger-feed", "issued", "A", "", "2001:db8::1")
    moments = [f"{now - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:00Z}" for minutes in (5, 6)]
    for arguments, expected in (
        ({}, [others, refused, issued]),
        ({"client_id": "CLAIMS-feed"}, [refused, issued]),
        ({"client_id": foreign.client_id}, []),
        ({"outcome": "refused"}, [refused]),
        ({"outcome": "wrong secret"}, [refused]),
        ({"secret": "A"}, [others, issued]),
        ({"address": "2001:DB8:0::1"}, [others]),
        ({"request_id": "nothing"}, []),
        ({"since": moments[0]}, [others, refused]),
        ({"until": moments[0]}, [refused, issued]),
        ({"until": moments[1]}, [issued]),
    ):
        assert requests_of(api, **arguments) == expected, arguments
    assert requests_of(api, f"/clients/{client.id}/token-requests") == [refused, issued]
    assert requests_of(api, f"/clients/{client.id}/token-requests", outcome="issued") == [issued]


def test_links_lead_to_older_token_requests(api: Api) -> None:
    client = make_client(api.engine)
    make_requests(api.engine, client, 60)
    for path in ("/token-requests", f"/clients/{client.id}/token-requests"):
        first = api.call("GET", path)
        second = api.call("GET", links(first)["next"])
        assert [len(response.json["items"]) for response in (first, second)] == [50, 10]  # type: ignore[index]
        assert set(links(second)) == {"first", "prev"}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"outcome": "unknown reason"}, 400),
        ({"secret": "a"}, 400),
        ({"request_id": "a b"}, 400),
        ({"since": "2026-03-31"}, 400),
        ({"since": "2026-03-31T12:00:00"}, 400),
        ({"since": "1767225600"}, 400),
        ({"since": "2026-13-31T12:00:00Z"}, 400),
        ({"address": "here"}, 422),
        ({"since": "0001-01-01T00:00:00+01:00"}, 422),
        ({"after": "x"}, 422),
        ({"since": "2026-03-31T12:00:00+01:00"}, 200),
    ],
)
def test_an_invalid_filter_of_token_requests_is_an_error(api: Api, arguments: dict[str, str], status: int) -> None:
    response = api.call("GET", "/token-requests", query_string=arguments)
    assert response.status_code == status
    if status != 200:
        assert fields_of(response) == list(arguments)


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
