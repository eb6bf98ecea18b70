"""Two people edit one client: no value is lost, and none is overwritten unseen (I7)."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.factories import make_client
from tests.support.host import NORTHWIND, PREFIX, Host
from tests.support.markup import Markup, read
from tests.support.screens import DIALOG_LIMIT_BYTES, SECRET, open_form, save, stored, submit, values
from webapp.core.database.models import IdentityClient, SecretState, utc_now
from webapp.web.clients.conflict import FIELDS


@pytest.fixture
def client(host: Host) -> IdentityClient:
    return make_client(
        host.engine,
        client_id="acme-claims-prod",
        name="Acme claims",
        description="First line\nsecond line",
        token_duration=45,
        roles=["MerchantUser", "UploadBatches"],
        owner="Claims platform",
        tags=["production", "claims"],
    )


@pytest.fixture
def mine(host: Host, client: IdentityClient) -> Markup:
    """Return the form that was opened before another person saved."""
    opened = open_form(host, client)
    answer = save(host, client, description="Theirs", token_duration="60", roles=["MerchantUser"])
    assert answer.status_code == 303
    return opened


def chosen(page: Markup) -> dict[str, Any]:
    """Return the values that the conflict's form would save as it was opened."""
    return {
        name: value for name, value in page.values if name not in ("csrf_token", "version", "base", "client_id_warning")
    }


def radios(page: Markup) -> dict[str, list[str]]:
    """Return the values to choose from, the own one first."""
    found: dict[str, list[str]] = {}
    for tag, attributes in page.tags:
        if tag == "input" and attributes.get("type") == "radio":
            found.setdefault(attributes["name"], []).append(attributes["value"])
    return found


def test_a_stale_save_shows_both_values_and_changes_nothing(
    host: Host, htmx: bool, client: IdentityClient, mine: Markup
) -> None:
    """409, as a fragment for htmx and as a page otherwise (I7, W12)."""
    before = values(stored(host, client))
    form = mine.form(name="Mine", roles=["MerchantUser", "UploadBatches", "CreatePayment"])
    answer = host.post(f"/{client.id}/edit", form, htmx=htmx, token=False)
    page = read(answer)
    assert answer.status_code == 409
    assert ("<html" in answer.text) is not htmx
    assert len(answer.data) <= DIALOG_LIMIT_BYTES or not htmx
    assert values(stored(host, client)) == before
    assert "Changed by Priya Nair at" in page.text
    assert radios(page) == {
        "name": ["Mine", "Acme claims"],
        "description": ["First line\nsecond line", "Theirs"],
        "token_duration": ["45", "60"],
        "roles": ["CreatePayment MerchantUser UploadBatches", "MerchantUser"],
    }
    assert "The same in both: Client ID, Owner, Tags, Enabled." in page.text
    assert "+ Create single payments" in page.text
    assert "− Upload batches" in page.text
    assert page.value("version") == "2"


def test_each_sides_changes_are_preselected(host: Host, client: IdentityClient, mine: Markup) -> None:
    """One click then saves both people's changes; where both changed a field, the own value is selected (I7)."""
    form = mine.form(name="Mine", token_duration="30")
    page = read(host.post(f"/{client.id}/edit", form, htmx=True, token=False))
    assert chosen(page) == {
        "client_id": "acme-claims-prod",
        "name": "Mine",
        "description": "Theirs",
        "token_duration": "30",
        "roles": "MerchantUser",
        "owner": "Claims platform",
        "tags": "claims, production",
        "enabled": "y",
    }
    answer = host.post(f"/{client.id}/edit", page.form(), htmx=True, token=False)
    assert answer.status_code == 200
    assert values(stored(host, client)) == {
        "client_id": "acme-claims-prod",
        "name": "Mine",
        "description": "Theirs",
        "token_duration": "30",
        "roles": ["MerchantUser"],
        "owner": "Claims platform",
        "tags": "claims, production",
        "enabled": True,
    }


def test_either_side_of_each_field_can_be_saved(host: Host, htmx: bool, client: IdentityClient, mine: Markup) -> None:
    """All own values are saved on top of the newest version, line breaks and several roles included (I7)."""
    form = mine.form(client_id="acme-mine", name="Mine", token_duration="30", owner="Priya Nair", tags="Vendor,, EU")
    del form["enabled"]
    page = read(host.post(f"/{client.id}/edit", form, htmx=htmx, token=False))
    own_values = {name: sides[0] for name, sides in radios(page).items()}
    answer = submit(host, client, page.form(**own_values), htmx=htmx)
    assert answer.status_code == (200 if htmx else 303)
    after = stored(host, client)
    assert values(after) == {
        "client_id": "acme-mine",
        "name": "Mine",
        "description": "First line\nsecond line",
        "token_duration": "30",
        "roles": ["MerchantUser", "UploadBatches"],
        "owner": "Priya Nair",
        "tags": "eu, vendor",
        "enabled": False,
    }
    assert after.version == 3


def test_a_third_save_meanwhile_is_a_conflict_again(host: Host, client: IdentityClient, mine: Markup) -> None:
    """Each further version is compared again (I7)."""
    page = read(host.post(f"/{client.id}/edit", mine.form(name="Mine"), htmx=True, token=False))
    save(host, client, name="Third")
    answer = host.post(f"/{client.id}/edit", page.form(), htmx=True, token=False)
    assert answer.status_code == 409
    assert radios(read(answer)) == {"name": ["Mine", "Third"]}


def test_a_choice_that_breaks_a_rule_gets_the_form_with_the_choices(
    host: Host, client: IdentityClient, mine: Markup
) -> None:
    """No typed or chosen value is lost (I7)."""
    page = read(host.post(f"/{client.id}/edit", mine.form(name="xx"), htmx=True, token=False))
    answer = host.post(f"/{client.id}/edit", page.form(), htmx=True, token=False)
    form = read(answer)
    assert answer.status_code == 422
    assert form.inputs["name"]["aria-invalid"] == "true"
    assert form.value("description") == "Theirs"
    assert [value for name, value in form.values if name == "roles"] == ["MerchantUser"]
    assert form.value("version") == "2"


@pytest.mark.parametrize("version", [None, "", "0", "99", "one"])
def test_a_missing_or_impossible_version_is_stale(host: Host, client: IdentityClient, version: str | None) -> None:
    """Such a version never matches (I7)."""
    form = open_form(host, client).form(name="Mine")
    del form["version"]
    answer = host.post(
        f"/{client.id}/edit", form | ({} if version is None else {"version": version}), htmx=True, token=False
    )
    assert answer.status_code == 409
    assert radios(read(answer)) == {"name": ["Mine", "Acme claims"]}
    assert stored(host, client).version == 1


def test_nothing_differs(host: Host, htmx: bool, client: IdentityClient, mine: Markup) -> None:
    """Both made the same change: it is not saved unseen, but there is nothing to choose (I7)."""
    form = mine.form(description="Theirs", token_duration="60", roles=["MerchantUser"])
    page = read(host.post(f"/{client.id}/edit", form, htmx=htmx, token=False))
    assert radios(page) == {}
    assert "Your values are the same as those saved." in page.text


def test_line_breaks_and_composed_letters_are_no_difference(host: Host, client: IdentityClient) -> None:
    """Browsers send CRLF, and may send decomposed letters (I1, I7)."""
    save(host, client, name="Café", token_duration="60")
    form = open_form(host, client).form(version="1", name="Cafe\u0301", description=" First line\r\nsecond line ")
    page = read(host.post(f"/{client.id}/edit", form, htmx=True, token=False))
    assert radios(page) == {}


def test_a_typed_secret_stays_in_the_browser_or_is_asked_for_again(
    host: Host, htmx: bool, client: IdentityClient, mine: Markup
) -> None:
    """htmx keeps the field by morphing, so the answer has it under the same id, without a value (S6, I7)."""
    form = mine.form(name="Mine", client_secret=SECRET)
    answer = host.post(f"/{client.id}/edit", form, htmx=htmx, token=False)
    page = read(answer)
    assert answer.status_code == 409
    assert SECRET not in answer.text
    assert page.inputs["client_secret"]["id"] == "f-client_secret"
    assert "value" not in page.inputs["client_secret"]
    assert ("still here" in page.described("client_secret")) is htmx
    assert ("Type it again" in page.described("client_secret")) is not htmx
    done = host.post(f"/{client.id}/edit", page.form(client_secret=SECRET), htmx=htmx, token=False)
    assert done.status_code == 200
    assert read(done).texts["ic-handover-secret"] == SECRET
    states = [secret.state_at(utc_now()) for secret in stored(host, client).secrets]
    assert states == [SecretState.ENDED, SecretState.CURRENT]


def test_a_warning_that_was_read_is_not_repeated_after_a_conflict(
    host: Host, client: IdentityClient, mine: Markup
) -> None:
    """The acknowledgement is part of the conflict's form (S4)."""
    typed = {"client_secret": "aaaaaa", "client_id": "acme+claims"}
    warned = read(host.post(f"/{client.id}/edit", mine.form(**typed), htmx=True, token=False))
    conflict = read(host.post(f"/{client.id}/edit", warned.form(client_secret="aaaaaa"), htmx=True, token=False))
    done = host.post(f"/{client.id}/edit", conflict.form(client_secret="aaaaaa"), htmx=True, token=False)
    assert done.status_code == 200


def test_no_secret_field_where_none_was_typed(host: Host, client: IdentityClient, mine: Markup) -> None:
    page = read(host.post(f"/{client.id}/edit", mine.form(name="Mine"), htmx=True, token=False))
    assert "client_secret" not in page.inputs


@pytest.mark.parametrize(
    "base",
    [
        "",
        "nonsense",
        "[]",
        "[" * 5000,
        "{}",
        json.dumps({"roles": "MerchantUser"}),
        json.dumps(dict.fromkeys(FIELDS)),
        json.dumps({**dict.fromkeys(FIELDS, 7), "roles": [[], {}]}),
    ],
)
def test_the_initial_values_of_the_form_may_be_missing_or_forged(
    host: Host, client: IdentityClient, mine: Markup, base: str
) -> None:
    """They only decide which side is preselected (I7)."""
    answer = host.post(f"/{client.id}/edit", mine.form(base=base, name="Mine"), htmx=True, token=False)
    assert answer.status_code == 409
    assert radios(read(answer))["name"] == ["Mine", "Acme claims"]


def test_their_roles_are_offered_as_far_as_they_may_be_granted(
    host: Host, client: IdentityClient, mine: Markup
) -> None:
    """Otherwise the choice could not be saved (A4)."""
    save(host, client, roles=["MerchantUser", "UploadBatches", "CreatePayment"])
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser", "CreatePayment"}))
    form = mine.form(roles=["MerchantUser"])
    page = read(host.post(f"/{client.id}/edit", form, htmx=True, token=False))
    assert radios(page)["roles"] == ["MerchantUser", "CreatePayment MerchantUser"]


def test_hostile_values_are_inert(host: Host, htmx: bool) -> None:
    """On both sides (W17)."""
    hostile = '"><img src=x hx-get=/y onerror=z>'
    client = make_client(host.engine, client_id='a"><b id=z>', name=hostile)
    form = open_form(host, client).form(
        name=hostile + "2", description="</textarea><script>", client_id="'><i hx-get=/>"
    )
    save(host, client, name=hostile + "1", description=hostile)
    page = read(host.post(f"/{client.id}/edit", form, htmx=htmx, token=False))
    assert radios(page)["name"] == [hostile + "2", hostile + "1"]
    assert not {"img", "i"} & {tag for tag, _ in page.tags}
    assert [attributes for tag, attributes in page.tags if tag == "script" and "src" not in attributes] == []
    assert PREFIX in "".join(attributes.get("action", "") for _, attributes in page.tags)
