"""Networks through the API (A8, I3)."""

from typing import Any

import pytest

from tests.support.api import Api, fields_of, problem_of
from tests.support.factories import make_client, make_requests
from webapp.core.clients.allowed_networks import NETWORKS_MAX


def put(api: Api, client: Any, networks: list[Any], version: int = 1, **members: Any) -> Any:
    listed = [{"network": one} if isinstance(one, str) else one for one in networks]
    return api.call("PUT", f"/clients/{client.id}/networks", {"networks": listed, **members}, version=version)


def test_networks_apply_to_the_next_token_request(api: Api) -> None:
    client = make_client(api.engine)
    given = [{"network": "203.0.113.0/28", "label": "London"}, {"network": "2001:DB8::/32"}]
    response = put(api, client, given)
    assert (response.status_code, response.headers["ETag"]) == (200, '"2"')
    expected = {
        "networks": [{"network": "203.0.113.0/28", "label": "London"}, {"network": "2001:db8::/32", "label": ""}]
    }
    assert response.json == api.call("GET", f"/clients/{client.id}/networks").json == expected
    assert api.request_token(client, address="203.0.113.7").status_code == 200
    assert api.request_token(client, address="203.0.113.77").status_code == 401


@pytest.mark.parametrize(
    ("networks", "status"),
    [
        ([f"192.0.2.{number}" for number in range(NETWORKS_MAX)], 200),
        ([f"192.0.2.{number}" for number in range(NETWORKS_MAX + 1)], 422),
        (["192.0.2.1/28"], 422),
        (["0.0.0.0/0"], 422),
        (["fe80::1%eth0"], 422),
        (["example.com"], 422),
        ([{"network": "192.0.2.1", "label": "x" * 61}], 422),
        ([""], 400),
        (["192.0.2.1\n192.0.2.2"], 400),
        (["192.0.2.1 192.0.2.2"], 400),
        ([{"network": "192.0.2.1", "label": "a\n192.0.2.9"}], 400),
        ([{"network": "192.0.2.1", "name": "x"}], 400),
    ],
)
def test_the_rules_are_those_of_the_screen(api: Api, networks: list[Any], status: int) -> None:
    """The number and the form of networks (I3)."""
    response = put(api, make_client(api.engine), networks)
    assert response.status_code == status, response.text
    if status == 422:
        assert fields_of(response) == ["#/networks"]


def test_a_list_that_would_refuse_a_caller_needs_a_confirmation(api: Api) -> None:
    client = make_client(api.engine)
    make_requests(api.engine, client, address="203.0.113.7")
    refused = put(api, client, ["192.0.2.1"])
    assert problem_of(refused) == (409, "confirmation-required")
    assert refused.json["to_confirm"] == ["203.0.113.7"]
    assert put(api, client, ["192.0.2.1"], confirmed=["203.0.113.7"]).status_code == 200
    opened = put(api, client, [], version=2)
    assert opened.json["to_confirm"] == ["anywhere"]
    assert put(api, client, [], version=2, confirmed=["anywhere"]).status_code == 200
