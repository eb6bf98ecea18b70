"""Secrets through the API: create, end, pause, resume, end date (S6 to S8)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select

from tests.support.api import Api, fields_of, problem_of
from tests.support.concurrency import run_concurrently
from tests.support.factories import SECRET, make_client, make_requests
from tests.support.keys import add_key
from webapp.core.database.models import ClientKey, ClientSecret, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session


def rotate(api: Api, client: IdentityClient, version: int, **members: Any) -> Any:
    return api.call("POST", f"/clients/{client.id}/secrets", members, version=version)


def secrets_of(api: Api, client: IdentityClient) -> dict[str, dict[str, Any]]:
    items = api.call("GET", f"/clients/{client.id}/secrets").json["items"]  # type: ignore[index]
    return {item["label"]: item for item in items}


@pytest.mark.parametrize(("overlap", "hours"), [(None, 24), ("now", 0), ("1h", 1), ("24h", 24), ("7d", 7 * 24)])
def test_the_current_secret_ends_after_the_overlap(api: Api, overlap: str | None, hours: int) -> None:
    """As on the screens (S8)."""
    client = make_client(api.engine)
    with time_machine.travel(utc_now().replace(microsecond=0), tick=False) as clock:
        response = rotate(api, client, 1, **({"overlap": overlap} if overlap else {}))
        assert (response.status_code, response.headers["ETag"]) == (201, '"2"')
        new = response.json["client_secret"]
        assert response.headers["Location"].endswith(f"/secrets/{response.json['id']}")
        assert api.request_token(client, new).status_code == 200
        if hours:
            clock.shift(timedelta(hours=hours, seconds=-1))
            assert api.request_token(client).status_code == 200
            clock.shift(timedelta(seconds=1))
        assert api.request_token(client).status_code == 401
        assert api.request_token(client, new).status_code == 200


def test_a_secret_is_only_in_the_response_that_created_it(api: Api) -> None:
    """In no later response and no stored value (S6)."""
    client = make_client(api.engine)
    made = api.call("POST", "/clients", {"client_id": "made-one", "roles": ["MerchantUser"]}).json or {}
    values = [made["client_secret"], rotate(api, client, 1).json["client_secret"]]
    values.append(rotate(api, client, 2, leaked=True).json["client_secret"])
    chosen = "a secret of my own choice"
    response = rotate(api, client, 3, client_secret=chosen)
    assert (response.status_code, response.json["client_secret"]) == (201, None)
    assert api.request_token(client, chosen).status_code == 200
    paths = [f"/clients/{client.id}{suffix}" for suffix in ("", "/secrets", "/events", "/token-requests")]
    for path in (*paths, "/clients", "/events", f"/clients/{made['id']}/secrets"):
        text = api.call("GET", path).text
        assert not [value for value in (*values, chosen, SECRET) if value in text], path
    with read_session(api.engine) as session:
        stored = " ".join(session.scalars(select(ClientSecret.secret_hash)))
    assert not [value for value in (*values, chosen) if value in stored]


def test_a_new_secret_may_end_on_a_date(api: Api) -> None:
    """At creation and rotation; not with `leaked` (S8)."""
    ends_at = (utc_now() + timedelta(days=30)).replace(microsecond=0)
    created = api.create(client_id="with-end-date", ends_at=ends_at.isoformat())
    path = f"/clients/{created['id']}/secrets"
    [first] = api.call("GET", path).json["items"]  # type: ignore[index]
    assert first["ends_at"] == ends_at.isoformat().replace("+00:00", "Z")
    client = make_client(api.engine)
    assert rotate(api, client, 1, ends_at=ends_at.isoformat()).json["ends_at"] == first["ends_at"]
    late = rotate(api, client, 2, end_older=True, ends_at=(utc_now() + timedelta(days=366)).isoformat())
    assert (problem_of(late), fields_of(late)) == ((422, "invalid-fields"), ["#/ends_at"])
    leaked = rotate(api, client, 2, leaked=True, ends_at=ends_at.isoformat())
    assert fields_of(leaked) == ["#/leaked"]


def test_a_third_secret_needs_the_oldest_to_end(api: Api) -> None:
    """At most two have not ended (S7)."""
    client = make_client(api.engine)
    assert rotate(api, client, 1).status_code == 201
    assert problem_of(rotate(api, client, 2)) == (409, "two-secrets")
    assert rotate(api, client, 2, end_older=True).status_code == 201
    assert {label: each["state"] for label, each in secrets_of(api, client).items()} == {
        "A": "ended",
        "B": "ending",
        "C": "current",
    }


def test_of_two_rotations_of_one_version_one_succeeds(each_api: Api) -> None:
    """The other one is stale (S7)."""
    client = make_client(each_api.engine)
    token = each_api.token(each_api.caller)

    def rotate_once() -> int:
        own = each_api.app.test_client()
        url = f"/api/identity-clients/v1/clients/{client.id}/secrets"
        headers = {"Authorization": f"Bearer {token}", "If-Match": '"1"'}
        return own.post(url, json={}, headers=headers).status_code

    assert sorted(run_concurrently([rotate_once] * 3)) == [201, 412, 412]


def test_leaked_ends_every_secret_and_revokes_every_token(api: Api) -> None:
    client = make_client(api.engine)
    second = rotate(api, client, 1).json["client_secret"]
    response = rotate(api, client, 2, leaked=True)
    assert (response.status_code, response.json["label"]) == (201, "C")
    assert api.request_token(client).status_code == api.request_token(client, second).status_code == 401
    assert api.request_token(client, response.json["client_secret"]).status_code == 200
    assert [event["action"] for event in api.events()[:4]] == [
        "secret changed",
        "tokens revoked",
        "secret ended",
        "secret ended",
    ]


@pytest.mark.parametrize("others", [{"overlap": "1h"}, {"client_secret": "my own choice"}, {"revoke_tokens": True}])
def test_leaked_allows_no_other_member(api: Api, others: dict[str, Any]) -> None:
    response = rotate(api, make_client(api.engine), 1, leaked=True, **others)
    assert (problem_of(response), fields_of(response)) == ((422, "invalid-fields"), ["#/leaked"])


def test_a_secret_in_use_is_not_chosen_again(api: Api) -> None:
    response = rotate(api, make_client(api.engine), 1, client_secret=SECRET)
    assert (problem_of(response), fields_of(response)) == ((422, "invalid-fields"), ["#/client_secret"])
    assert "Generate" not in response.text


def test_a_refusal_never_repeats_the_secret(api: Api) -> None:
    """For an invalid value, a wrong type or an unknown member (I8)."""
    client = make_client(api.engine)
    for body in ('{"client_secret": "canary', '{"client_secret": ["canary"]}', '{"client_secret": "canáry"}'):
        response = api.call("POST", f"/clients/{client.id}/secrets", body.encode(), version=1)
        assert response.status_code in (400, 422)
        assert "can" not in response.text.replace("cannot", "")


# Actions on one secret


def act(api: Api, client: IdentityClient, label: str, action: str, version: int, body: Any = None) -> Any:
    secret = secrets_of(api, client)[label]
    method = "PUT" if action == "end-date" else "POST"
    return api.call(method, f"/clients/{client.id}/secrets/{secret['id']}/{action}", body, version=version)


def test_pause_resume_end(api: Api) -> None:
    client = make_client(api.engine)
    second = rotate(api, client, 1, overlap="7d").json["client_secret"]
    paused = act(api, client, "B", "pause", 2, {"confirmed": True})
    assert (paused.json["state"], paused.headers["ETag"]) == ("paused", '"3"')
    assert api.request_token(client, second).status_code == 401
    resumed = act(api, client, "B", "resume", 3)
    assert (resumed.json["state"], resumed.json["paused_at"]) == ("current", None)
    assert api.request_token(client, second).status_code == 200
    assert act(api, client, "A", "end", 4).json["state"] == "ended"
    assert problem_of(act(api, client, "A", "resume", 5)) == (409, "secret-ended")
    assert [event["action"] for event in api.events()[:3]] == ["secret ended", "secret resumed", "secret paused"]


@pytest.mark.parametrize("action", ["end", "pause"])
def test_the_last_live_secret_stays(api: Api, action: str) -> None:
    """It can be neither ended nor paused (S7)."""
    client = make_client(api.engine)
    assert problem_of(act(api, client, "A", action, 1, {"confirmed": True})) == (409, "last-secret")
    assert api.request_token(client).status_code == 200


def test_a_secret_used_within_the_hour_ends_after_confirmation(api: Api) -> None:
    client = make_client(api.engine)
    rotate(api, client, 1)
    make_requests(api.engine, client)
    refused = act(api, client, "A", "end", 2)
    assert problem_of(refused) == (409, "confirmation-required")
    assert "Secret A was used at 20" in refused.json["detail"]
    assert act(api, client, "A", "end", 2, {"confirmed": True}).status_code == 200


END_DATES: dict[str, tuple[Callable[[], Any], int]] = {
    "past": (lambda: utc_now() - timedelta(seconds=1), 422),
    "soon": (lambda: utc_now() + timedelta(minutes=1), 200),
    "within a year": (lambda: utc_now() + timedelta(days=364, hours=23), 200),
    "beyond a year": (lambda: utc_now() + timedelta(days=365, minutes=1), 422),
}


@pytest.mark.parametrize(("moment", "status"), END_DATES.values(), ids=END_DATES)
def test_an_end_date_is_within_a_year(api: Api, moment: Callable[[], Any], status: int) -> None:
    """It must be in the future as well (S8)."""
    client = make_client(api.engine)
    body = {"ends_at": moment().isoformat(), "confirmed": True}
    response = act(api, client, "A", "end-date", 1, body)
    assert response.status_code == status
    if status == 422:
        assert fields_of(response) == ["#/ends_at"]
    else:
        assert act(api, client, "A", "end-date", 2, {"ends_at": None}).json["ends_at"] is None


def test_the_end_of_the_last_secret_needs_confirmation(api: Api) -> None:
    client = make_client(api.engine)
    body = {"ends_at": (utc_now() + timedelta(days=3)).isoformat()}
    assert problem_of(act(api, client, "A", "end-date", 1, body)) == (409, "confirmation-required")


@pytest.mark.parametrize(
    "moment", ["2026-01-01T00:00:00", "2026-01-01", 1767225600, "tomorrow", "0001-01-01T00:00:00Z"]
)
def test_an_end_date_has_a_time_zone(api: Api, moment: Any) -> None:
    """Otherwise it is ambiguous (I8)."""
    response = act(api, make_client(api.engine), "A", "end-date", 1, {"ends_at": moment})
    assert problem_of(response)[0] == (422 if moment == "0001-01-01T00:00:00Z" else 400)
    assert fields_of(response) == ["#/ends_at"]


def test_a_secret_of_another_client_is_absent(api: Api) -> None:
    client, other = make_client(api.engine), make_client(api.engine)
    foreign = other.secrets[0].id
    assert api.call("GET", f"/clients/{client.id}/secrets/{foreign}").status_code == 404
    assert api.call("POST", f"/clients/{client.id}/secrets/{foreign}/pause", version=1).status_code == 404


@pytest.mark.parametrize("action", ["end", "pause", "resume", "end-date"])
def test_a_key_of_the_client_is_no_secret(api: Api, action: str) -> None:
    client = make_client(api.engine)
    key = add_key(api.engine, client)
    body = {"ends_at": None} if action == "end-date" else None
    method = "PUT" if action == "end-date" else "POST"
    response = api.call(method, f"/clients/{client.id}/secrets/{key.id}/{action}", body, version=2)
    assert response.status_code == 404
    with read_session(api.engine) as session:
        assert session.get_one(ClientKey, key.id).paused_at is None
        assert session.get_one(IdentityClient, client.id).version == 2
