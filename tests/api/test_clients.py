"""Clients through the API: list, create, read, update, delete, enable, disable, revoke tokens (I8)."""

import re
from typing import Any

import pytest

from tests.support.api import Api, fields_of, problem_of
from tests.support.endpoint import basic_header
from tests.support.factories import ACCOUNT, insert_clients, make_client, make_requests
from webapp.core.clients.listing import PAGE_SIZE, SORTS

VALID: dict[str, Any] = {"client_id": "claims-feed", "roles": ["MerchantUser"]}
MEMBERS = {
    "id",
    "client_id",
    "name",
    "description",
    "token_duration_minutes",
    "roles",
    "owner",
    "tags",
    "enabled",
    "attention",
    "last_token_at",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
    "version",
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def test_a_created_client_gets_tokens_with_the_secret_of_the_response(each_api: Api) -> None:
    """The client is enabled, the audit log names the caller, and times are RFC 3339 in UTC (L1)."""
    response = each_api.call("POST", "/clients", VALID | {"name": "Claims", "token_duration_minutes": 20})
    assert response.status_code == 201
    created = response.json or {}
    assert created.keys() == MEMBERS | {"client_secret"}
    assert (created["enabled"], created["created_by"], created["version"]) == (True, "deployer", 1)
    assert TIME.fullmatch(created["created_at"])
    assert response.headers["Location"].endswith(f"/clients/{created['id']}")
    read = each_api.call("GET", response.headers["Location"])
    assert read.json == {name: value for name, value in created.items() if name != "client_secret"}
    assert read.headers["ETag"] == response.headers["ETag"] == '"1"'
    token = each_api.request_token("claims-feed", created["client_secret"])
    assert (token.status_code, token.json["expires_in"]) == (200, 1200)  # type: ignore[index]
    [event] = each_api.events(action="created", client="claims-feed")
    assert (event["actor"], event["client"]) == ("deployer", created["id"])
    assert event["changes"]["token_duration_minutes"] == [None, 20]


@pytest.mark.parametrize(
    ("member", "accepted", "refused"),
    [
        ("client_id", ["six-id", "x" * 100], ["five5", "x" * 101, " space", "space ", "né-id-x", ""]),
        ("name", ["", "abc", "x" * 100], ["ab", "x" * 101, "a\u202eb c"]),
        ("description", ["", "x" * 1000, "two\nlines"], ["x" * 1001, "a\x07bell"]),
        ("owner", ["", "Ann", "x" * 100], ["An", "x" * 101, "a\x07b"]),
        ("tags", [[], ["Prod", "prod"], ["x" * 30]], [["a,b"], ["x" * 31], [f"tag-{n}" for n in range(11)]]),
        ("token_duration_minutes", [10, 60, 15.0], [9, 61, 9.0, 0, -15, 10**30]),
        ("client_secret", ["secret", "x" * 100], ["short", "x" * 101, "sécret", ""]),
    ],
)
def test_the_limits_of_each_value_are_those_of_the_screens(
    api: Api, member: str, accepted: list[Any], refused: list[Any]
) -> None:
    """422 with the invalid member (I8, I1, I2, S4)."""
    for number, value in enumerate(accepted):
        response = api.call("POST", "/clients", {**VALID, "client_id": f"client-{number}", member: value})
        assert response.status_code == 201, (value, response.text)
    for value in refused:
        response = api.call("POST", "/clients", {**VALID, member: value})
        assert problem_of(response) == (422, "invalid-fields"), value
        assert fields_of(response) == [f"#/{member}"]


def test_all_errors_are_reported_in_one_response(api: Api) -> None:
    """Each with its member (I8)."""
    body = {"client_id": "x", "name": "y", "token_duration_minutes": 1, "roles": [], "client_secret": "z"}
    assert fields_of(api.call("POST", "/clients", body)) == [
        "#/client_id",
        "#/client_secret",
        "#/name",
        "#/token_duration_minutes",
        "#/roles",
    ]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**VALID, "enabled": False}, "#/enabled"),
        ({**VALID, "id": "1"}, "#/id"),
        ({**VALID, "secret_hash": "x"}, "#/secret_hash"),
        ({**VALID, "a/b~c": 1}, "#/a~1b~0c"),
        ({**VALID, "token_duration_minutes": "15"}, "#/token_duration_minutes"),
        ({**VALID, "token_duration_minutes": 15.5}, "#/token_duration_minutes"),
        ({**VALID, "token_duration_minutes": True}, "#/token_duration_minutes"),
        ({**VALID, "name": None}, "#/name"),
        ({**VALID, "roles": "MerchantUser"}, "#/roles"),
        ({**VALID, "roles": ["MerchantUser", 1]}, "#/roles/1"),
        ({"roles": ["MerchantUser"]}, "#/client_id"),
        ([VALID], "#"),
        ("null", "#"),
        ("{", "#"),
        (b"\xff", "#"),
        ('{"client_id": "\\ud800lone", "roles": []}', "#"),
        ("[" * 5000, "#"),
        ('{"client_id": "abcdef", "token_duration_minutes": ' + "9" * 5000 + "}", "#"),
    ],
)
def test_values_outside_the_schema_are_400(api: Api, body: Any, pointer: str) -> None:
    """Unknown or missing members, wrong types and invalid JSON (I8)."""
    response = api.call("POST", "/clients", body)
    assert problem_of(response) == (400, "malformed-request")
    assert fields_of(response) == [pointer]
    assert api.call("GET", "/clients", query_string={"q": "claims-feed"}).json == {"items": []}


@pytest.mark.parametrize("taken", ["deployer", "DEPLOYER"])
def test_a_client_id_in_use_is_only_reported_as_in_use(api: Api, taken: str) -> None:
    """In any letter case, without saying by which client (I6)."""
    response = api.call("POST", "/clients", {**VALID, "client_id": taken})
    assert problem_of(response) == (422, "invalid-fields")
    assert response.json["errors"] == [  # type: ignore[index]
        {"detail": "This client ID is already in use. Choose another.", "pointer": "#/client_id"}
    ]


# Update


@pytest.mark.parametrize(
    ("patch", "changed"),
    [
        ({"name": "New name"}, {"name": "New name"}),
        ({"name": None, "description": None}, {"name": "", "description": ""}),
        ({"token_duration_minutes": 10, "enabled": False}, {"token_duration_minutes": 10, "enabled": False}),
        ({"roles": ["ReportViewer"]}, {"roles": ["ReportViewer"]}),
        ({"owner": "Payments team", "tags": ["Prod"]}, {"owner": "Payments team", "tags": ["prod"]}),
        ({"owner": None, "tags": None}, {"owner": "", "tags": []}),
        ({"client_id": "renamed-client"}, {"client_id": "renamed-client"}),
    ],
)
def test_an_update_changes_the_members_that_it_names(api: Api, patch: dict[str, Any], changed: dict[str, Any]) -> None:
    """Members that are left out stay as they are (RFC 7396)."""
    client = make_client(
        api.engine, name="Old name", description="Old", roles=["MerchantUser"], owner="Ann", tags=["old"]
    )
    before = api.call("GET", f"/clients/{client.id}").json or {}
    response = api.call("PATCH", f"/clients/{client.id}", patch, version=1)
    after = response.json or {}
    assert response.status_code == 200
    assert response.headers["ETag"] == '"2"'
    same = {name for name in MEMBERS - {"updated_at", "updated_by", "version"} if name not in changed}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert {name: after[name] for name in changed} == changed
    assert (after["updated_by"], after["version"]) == ("deployer", 2)


def test_an_update_without_a_difference_writes_nothing(api: Api) -> None:
    client = make_client(api.engine, name="A name")
    events = len(api.events())
    for patch in ({}, {"name": "A name"}, {"roles": ["MerchantUser"], "enabled": True}):
        response = api.call("PATCH", f"/clients/{client.id}", patch, version=1)
        assert (response.status_code, response.headers["ETag"]) == (200, '"1"')
    assert len(api.events()) == events


@pytest.mark.parametrize("member", ["roles", "client_id", "token_duration_minutes", "enabled"])
def test_null_is_refused_for_required_members(api: Api, member: str) -> None:
    client = make_client(api.engine)
    response = api.call("PATCH", f"/clients/{client.id}", {member: None}, version=1)
    assert (problem_of(response), fields_of(response)) == ((400, "malformed-request"), [f"#/{member}"])


@pytest.mark.parametrize(
    ("if_match", "status", "kind"),
    [
        (None, 428, "version-required"),
        ("*", 428, "version-required"),
        ("", 428, "version-required"),
        ('"1"', 412, "stale-version"),
        ('"3"', 412, "stale-version"),
        ('W/"2"', 412, "stale-version"),
        ('"02x"', 412, "stale-version"),
        ("2", 400, "malformed-request"),
        ('"1", "2"', 400, "malformed-request"),
    ],
)
def test_a_change_names_the_version_that_it_read(api: Api, if_match: str | None, status: int, kind: str) -> None:
    """In `If-Match` (I7)."""
    client = make_client(api.engine)
    path = f"/clients/{client.id}"
    assert api.call("PATCH", path, {"name": "First"}, version=1).status_code == 200
    for method, suffix, body in (
        ("PATCH", "", {"name": "Second"}),
        ("DELETE", "", None),
        ("POST", "/disable", None),
        ("POST", "/secrets", {}),
        ("PUT", "/networks", {"networks": []}),
    ):
        response = api.call(method, path + suffix, body, version=if_match)
        assert problem_of(response) == (status, kind), (method, suffix)
        if status == 412:
            assert response.headers["ETag"] == '"2"'
    assert api.call("GET", path).json["name"] == "First"  # type: ignore[index]


def test_a_stale_version_is_recorded(api: Api) -> None:
    client = make_client(api.engine)
    api.call("PATCH", f"/clients/{client.id}", {"name": "Name"}, version=7)
    [event, *_] = api.events(action="refused")
    assert event["changes"] == {"refusal": [None, "stale version"], "attempt": [None, "edit"]}
    assert event["client"] == str(client.id)


# Delete, enable, disable, revoke


def test_delete(api: Api) -> None:
    client = make_client(api.engine)
    assert api.request_token(client).status_code == 200
    response = api.call("DELETE", f"/clients/{client.id}", version=1)
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Length" not in response.headers
    assert "Content-Type" not in response.headers
    assert api.request_token(client).status_code == 401
    assert api.call("GET", f"/clients/{client.id}").status_code == 404
    assert api.call("GET", f"/clients/{client.id}/events").json["items"][0]["action"] == "deleted"  # type: ignore[index]


def test_disable_and_enable(api: Api) -> None:
    client = make_client(api.engine)
    disabled = api.call("POST", f"/clients/{client.id}/disable", version=1)
    assert (disabled.json["enabled"], disabled.headers["ETag"]) == (False, '"2"')  # type: ignore[index]
    assert api.request_token(client).status_code == 401
    again = api.call("POST", f"/clients/{client.id}/disable", version=1)
    assert (again.status_code, again.headers["ETag"]) == (200, '"2"'), "it is disabled already"
    enabled = api.call("POST", f"/clients/{client.id}/enable", version=2)
    assert (enabled.json["enabled"], enabled.headers["ETag"]) == (True, '"3"')  # type: ignore[index]
    assert api.request_token(client).status_code == 200


def test_revoke_tokens(api: Api) -> None:
    """The tokens become inactive (T13)."""
    client = make_client(api.engine)
    token = api.token(client)
    response = api.call("POST", f"/clients/{client.id}/revoke-tokens")
    assert response.status_code == 204
    credentials = {"Authorization": basic_header(client.client_id, "correct-horse-battery-staple")}
    assert api.post({"token": token}, "/connect/introspect", headers=credentials).json == {"active": False}


# List


def ids(response: Any) -> list[str]:
    return [item["client_id"] for item in response.json["items"]]


def test_the_list_has_the_filters_of_the_screen(api: Api) -> None:
    make_client(api.engine, client_id="claims-feed", name="Claims", roles=["ReportViewer"], tags=["prod"], owner="Ann")
    make_client(api.engine, client_id="claims-off", enabled=False, roles=["CreatePayment"])
    refused = make_client(api.engine, client_id="refused-often")
    make_requests(api.engine, refused, 6, outcome="wrong secret", secret_label=None)  # type: ignore[arg-type]
    for arguments, expected in (
        ({"q": "CLAIMS"}, ["claims-feed", "claims-off"]),
        ({"status": "disabled"}, ["claims-off"]),
        ({"role": "ReportViewer"}, ["claims-feed", "deployer"]),
        ({"role": "*money"}, ["claims-off"]),
        ({"tag": "PROD"}, ["claims-feed"]),
        ({"owner": "ann"}, ["claims-feed"]),
        ({"attention": "refused"}, ["refused-often"]),
        ({"attention": "any", "q": "claims"}, []),
        ({"sort": "-client_id", "status": "enabled"}, ["refused-often", "deployer", "claims-feed"]),
        ({"tag": ""}, ["claims-feed", "claims-off", "deployer", "refused-often"]),
    ):
        assert ids(api.call("GET", "/clients", query_string=arguments)) == expected, arguments
    [found] = api.call("GET", "/clients", query_string={"q": "refused"}).json["items"]  # type: ignore[index]
    assert found["attention"] == [{"reason": "refused", "secret": None, "at": None}]


@pytest.mark.parametrize(
    ("arguments", "name", "status"),
    [
        ({"sort": "password"}, "sort", 400),
        ({"status": "on"}, "status", 400),
        ({"status": ""}, "status", 400),
        ({"attention": "x"}, "attention", 400),
        ({"q": "x" * 201}, "q", 400),
        ({"q": "a\x00"}, "q", 400),
        ({"page": "2"}, "page", 400),
        ({"access_token": "x"}, "access_token", 400),
        ({"after": "x="}, "after", 400),
        ([("q", "a"), ("q", "b")], "q", 400),
        ({"role": "NoSuchRole"}, "role", 422),
        ({"after": "x"}, "after", 422),
        ({"before": "e30"}, "before", 422),
        ({"after": "WzFd", "before": "WzFd"}, "before", 422),
    ],
)
def test_an_unknown_or_invalid_argument_is_an_error(api: Api, arguments: Any, name: str, status: int) -> None:
    """The screens show the first page instead, but a program would not notice (I8, I4)."""
    response = api.call("GET", "/clients", query_string=arguments)
    kind = "malformed-request" if status == 400 else "invalid-fields"
    assert (problem_of(response), fields_of(response)) == ((status, kind), [name])


def links(response: Any) -> dict[str, str]:
    return {relation: url for url, relation in re.findall(r'<([^>]*)>; rel="(\w+)"', response.headers["Link"])}


def test_links_lead_through_every_page_and_back(api: Api) -> None:
    insert_clients(api.engine, ACCOUNT, PAGE_SIZE + 10)
    for sort in SORTS:
        first = api.call("GET", "/clients", query_string={"sort": sort})
        assert set(links(first)) == {"first", "next"}
        second = api.call("GET", links(first)["next"])
        assert set(links(second)) == {"first", "prev"}
        found = ids(first) + ids(second)
        assert (len(found), len(set(found))) == (PAGE_SIZE + 12, PAGE_SIZE + 12)
        assert ids(api.call("GET", links(second)["prev"])) == ids(first)
        assert ids(api.call("GET", links(second)["first"])) == ids(first)


def test_a_page_beyond_the_last_row_is_empty(api: Api) -> None:
    """Paging ends even if the remaining rows have been deleted meanwhile."""
    clients = [make_client(api.engine, client_id=f"later-{number:03}") for number in range(PAGE_SIZE)]
    first = api.call("GET", "/clients")
    assert ids(first)[0] == "deployer"
    assert api.call("DELETE", f"/clients/{clients[-1].id}", version=1).status_code == 204
    rest = api.call("GET", links(first)["next"])
    assert (ids(rest), set(links(rest))) == ([], {"first"})
