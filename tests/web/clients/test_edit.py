"""Edit: every field can be changed; the secret only by typing a new one."""

import gzip
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.factories import make_client
from tests.support.host import HARBOUR, HTMX, NORTHWIND, PREFIX, Host, make_host
from tests.support.markup import one_line, read
from tests.support.screens import DIALOG_LIMIT_BYTES, SECRET, open_form, save, stored, submit, values
from webapp.core.database.models import ClientSecret, IdentityClient, SecretState, utc_now
from webapp.core.database.unit_of_work import read_session
from webapp.core.secrets.generation import Secret, is_generated

ORIGINAL: dict[str, Any] = {
    "client_id": "acme-claims-prod",
    "name": "Acme claims",
    "description": "Two\nlines",
    "token_duration": 45,
    "roles": ["MerchantUser", "UploadBatches"],
}
CHANGED: dict[str, Any] = {
    "client_id": "acme-claims-live",
    "name": "Acme live claims",
    "description": "Three\r\nlines\r\nnow",
    "token_duration": "10",
    "roles": ["MerchantUser", "CreatePayment"],
    "owner": "Priya Nair",
    "tags": "claims, production",
}


@pytest.fixture
def client(host: Host) -> IdentityClient:
    return make_client(host.engine, **ORIGINAL)


def test_the_form_is_filled_but_for_the_secret(host: Host, htmx: bool, client: IdentityClient) -> None:
    page = open_form(host, client, htmx=htmx)
    assert page.value("client_id") == "acme-claims-prod"
    assert page.value("name") == "Acme claims"
    assert page.value("description") == "Two\nlines"
    assert page.value("token_duration") == "45"
    assert [value for name, value in page.values if name == "roles"] == ["MerchantUser", "UploadBatches"]
    assert page.value("enabled") == "on"
    assert page.value("version") == "1"
    assert page.value("client_secret") == ""
    assert "Leave empty to keep the current secret" in page.described("client_secret")
    assert "9/1000" in page.described("description")


def test_edit_never_proposes_a_secret_by_itself(host: Host, htmx: bool, client: IdentityClient) -> None:
    """Saving an unchanged form must not replace the secret, so the field starts empty (S6)."""
    answer = host.get(f"/{client.id}/edit", htmx=htmx)
    assert "vcs_" not in answer.text
    assert 'hx-trigger="load' not in answer.text
    assert "Pragma" not in answer.headers


def test_the_dialog_is_within_its_budget(host: Host, client: IdentityClient) -> None:
    """At most 8 KB on the wire, even with a long description, which the form holds twice."""
    long = make_client(host.engine, name="n" * 100, description="Owner: claims-platform@northwind.example. " * 23)
    for opened in (client, long):
        answer = host.client.get(PREFIX + f"/{opened.id}/edit", headers={**HTMX, "Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(answer.data) <= DIALOG_LIMIT_BYTES
        assert gzip.decompress(answer.data).lstrip().startswith(b"<dialog")


def test_saving_the_form_as_it_was_opened_changes_nothing(host: Host, htmx: bool, client: IdentityClient) -> None:
    """The client ID does not clash with itself (I6)."""
    answer = save(host, client, htmx=htmx)
    assert answer.status_code == (200 if htmx else 303)
    after = stored(host, client)
    assert values(after) == values(client)
    assert after.version == client.version
    assert [secret.secret_hash for secret in after.secrets] == [secret.secret_hash for secret in client.secrets]


def test_every_field_can_be_edited(host: Host, htmx: bool, client: IdentityClient) -> None:
    """With htmx the dialog closes and the page behind it is refreshed; otherwise 303 to the details."""
    form = open_form(host, client).form(**CHANGED)
    del form["enabled"]
    answer = submit(host, client, form, htmx=htmx)
    if htmx:
        assert answer.status_code == 200
        assert answer.headers["HX-Retarget"] == "#ic-dialog"
        assert answer.headers["HX-Trigger"] == "ic-changed"
        assert "Saved" in answer.text
        assert read(answer).value("changed") == str(client.id)
    else:
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"{PREFIX}/{client.id}?done=edited"
        assert "Saved" in host.client.get(answer.headers["Location"]).text
    after = stored(host, client)
    expected = {**CHANGED, "description": "Three\nlines\nnow", "roles": sorted(CHANGED["roles"]), "enabled": False}
    assert values(after) == expected
    assert after.version == 2
    assert after.updated_by == "Priya Nair"


def test_errors_keep_what_was_typed(host: Host, htmx: bool, client: IdentityClient) -> None:
    """422 with the form, its version, its initial values and the enabled switch (W12)."""
    make_client(host.engine, account_id="harbour", client_id="taken-client")
    opened = open_form(host, client)
    form = opened.form(client_id="taken-client", name="ab", token_duration="61", roles=[], client_secret=SECRET)
    del form["enabled"]
    answer = host.post(f"/{client.id}/edit", form, htmx=htmx, token=False)
    page = read(answer)
    assert answer.status_code == 422
    assert ("<html" in answer.text) is not htmx
    for name in ("client_id", "name", "token_duration", "roles"):
        assert page.inputs[name]["aria-invalid"] == "true"
    assert page.value("name") == "ab"
    assert page.value("version") == "1"
    assert page.value("base") == opened.value("base")
    assert "enabled" not in dict(page.values)
    assert SECRET not in answer.text
    assert ("Type it again" in page.described("client_secret")) is not htmx
    assert values(stored(host, client)) == values(client)


def test_a_typed_secret_replaces_the_current_one_at_once(host: Host, htmx: bool, client: IdentityClient) -> None:
    """Only the new secret verifies, and the response is the handover."""
    answer = save(host, client, htmx=htmx, client_secret=SECRET)
    assert answer.status_code == 200
    assert read(answer).texts["ic-handover-secret"] == SECRET
    after = stored(host, client)
    states = {secret.label: secret.state_at(utc_now()) for secret in after.secrets}
    assert states["A"] is SecretState.ENDED
    assert [label for label, state in states.items() if state is not SecretState.ENDED] == ["B"]
    assert after.version == 2


def test_an_empty_secret_keeps_the_current_one(host: Host, client: IdentityClient) -> None:
    save(host, client, name="Another name", client_secret="")
    with read_session(host.engine) as session:
        (secret,) = session.scalars(select(ClientSecret).where(ClientSecret.client_key == client.id))
    assert secret.ends_at is None


def test_a_weak_secret_is_warned_about(host: Host, htmx: bool, client: IdentityClient) -> None:
    """The same warning as in New Client (S4)."""
    answer = save(host, client, htmx=htmx, client_secret="aaaaaa")
    page = read(answer)
    assert answer.status_code == 422
    assert "It repeats one character" in page.described("client_secret")
    assert "press Save again" in page.texts["ic-form-message"]
    assert stored(host, client).version == 1
    again = host.post(f"/{client.id}/edit", page.form(client_secret="aaaaaa"), htmx=htmx, token=False)
    assert again.status_code == 200
    assert stored(host, client).version == 2


def test_only_a_typed_secret_needs_a_recent_sign_in(host: Host, htmx: bool, client: IdentityClient) -> None:
    """Other fields can be saved at any time (W5)."""
    host.actor = replace(NORTHWIND, signed_in_at=utc_now() - timedelta(minutes=30, seconds=1))
    assert save(host, client, htmx=htmx, client_secret=SECRET).status_code == 401
    assert stored(host, client).version == 1
    assert save(host, client, htmx=htmx, name="Another name").status_code in (200, 303)
    assert stored(host, client).version == 2


# What follows from a changed client ID


def test_a_changed_client_id_is_warned_about_before_it_is_saved(host: Host, client: IdentityClient) -> None:
    """Callers with the old ID are refused from the next request."""

    def check(client_id: str) -> str:
        answer = host.post(f"/check?field=client_id&client={client.id}", {"client_id": client_id}, htmx=True)
        return read(answer).text

    assert "callers that still use acme-claims-prod are refused" in check("acme-claims-live")
    assert check("acme-claims-prod").strip() == ""
    assert "Error:" in check("short")
    assert "callers" not in check("short")
    page = open_form(host, client)
    assert "callers with the old one are refused" in page.described("client_id")
    again = read(
        host.post(f"/{client.id}/edit", page.form(client_id="acme-claims-live", name="x"), htmx=True, token=False)
    )
    assert "callers that still use acme-claims-prod" in again.described("client_id")


def test_only_a_client_id_that_is_changed_is_warned_of(host: Host, htmx: bool) -> None:
    """One that callers use already is saved with the first press, also in another name."""
    client = make_client(host.engine, **{**ORIGINAL, "client_id": "acme:claims"})
    form = open_form(host, client, htmx=htmx).form(name="Renamed")
    assert host.post(f"/{client.id}/edit", form, htmx=htmx, token=False).status_code in (200, 303)
    page = open_form(host, client, htmx=htmx)
    assert "HTTP Basic" not in page.described("client_id")
    warned = host.post(f"/{client.id}/edit", page.form(client_id="acme+claims"), htmx=htmx, token=False)
    assert warned.status_code == 422
    assert "callers that still use acme:claims" in read(warned).described("client_id")
    assert "wrongly by HTTP Basic" in read(warned).described("client_id")
    saved = host.post(f"/{client.id}/edit", read(warned).form(), htmx=htmx, token=False)
    assert saved.status_code in (200, 303)
    assert stored(host, client).client_id == "acme+claims"


def test_the_checks_of_the_form_identify_the_client(host: Host, client: IdentityClient) -> None:
    """Its own ID, or a former one of it, does not count as taken."""
    page = open_form(host, client, htmx=True)
    assert page.inputs["client_id"]["hx-post"] == f"{PREFIX}/check?field=client_id&client={client.id}"
    save(host, client, client_id="acme-claims-live")
    for client_id in ("acme-claims-prod", "ACME-claims-LIVE"):
        answer = host.post(f"/check?field=client_id&client={client.id}", {"client_id": client_id}, htmx=True)
        assert "already in use" not in answer.text
    taken = host.post("/check?field=client_id", {"client_id": "acme-claims-prod"}, htmx=True)
    assert "already in use" in taken.text


def test_a_check_of_an_empty_secret_says_nothing_here(host: Host, client: IdentityClient) -> None:
    answer = host.post(f"/check?field=client_secret&client={client.id}", {"client_secret": ""}, htmx=True)
    assert read(answer).text.strip() == ""


def test_beyond_the_quota_what_was_typed_is_kept(host: Host, htmx: bool, client: IdentityClient) -> None:
    """429 with the form as it was sent (A6, D5)."""
    make_client(host.engine, account_id="harbour", client_id="foreign-client")
    strict = make_host(host.engine, taken_id_answers_per_hour=1)
    assert save(strict, client, htmx=htmx, client_id="foreign-client").status_code == 422
    answer = save(strict, client, htmx=htmx, client_id="foreign-client", name="Typed name")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert ("Typed name" in answer.text) is not htmx
    assert save(strict, client, name="Typed name").status_code == 303


# Access and forged fields


def test_roles_that_the_account_lost_are_named_and_removed(host: Host, htmx: bool, client: IdentityClient) -> None:
    """The form shows them before it is saved (A4)."""
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser"}))
    page = open_form(host, client, htmx=htmx)
    assert "no longer holds these roles; they are removed when you save: Upload batches" in " ".join(page.text.split())
    assert [value for name, value in page.values if name == "roles"] == ["MerchantUser"]
    save(host, client, htmx=htmx, name="Another name")
    assert stored(host, client).roles == {"MerchantUser"}


def test_a_forged_role_is_refused(host: Host, htmx: bool, client: IdentityClient) -> None:
    """A role that the account does not hold, whether or not the client has it (A4)."""
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser"}))
    for roles in (["MerchantUser", "CreatePayment"], ["UploadBatches"], ["MerchantUser UploadBatches"]):
        answer = save(host, client, htmx=htmx, roles=roles)
        assert answer.status_code == 422
        assert read(answer).inputs["roles"]["aria-invalid"] == "true"
    assert stored(host, client).version == 1


def test_a_form_writes_only_its_own_fields(host: Host, client: IdentityClient) -> None:
    """Values for every column of every table of ours are posted (A5)."""
    foreign = make_client(host.engine, account_id="harbour", client_id="harbour-1")
    own = {"client_id", "name", "description", "roles", "enabled", "version"}
    columns = [column.name for table in (IdentityClient, ClientSecret) for column in table.__table__.columns]
    forged = {name: "2001-01-01" if name.endswith("_at") else "forged" for name in columns if name not in own}
    forged |= {"id": str(foreign.id), "client_key": str(foreign.id), "account_id": "harbour", "creation_key": "forged"}
    before = stored(host, client)
    form = {**forged, **open_form(host, client).form(name="Another name")}
    assert host.post(f"/{client.id}/edit", form, token=False).status_code == 303
    after = stored(host, client)
    changed = {"name", "name_folded", "version", "updated_at", "updated_by"}
    for name in {column.name for column in IdentityClient.__table__.columns} - changed:
        assert getattr(after, name) == getattr(before, name), name
    assert after.updated_by == "Priya Nair"
    assert after.updated_at > before.updated_at
    for found, was in zip(after.secrets, before.secrets, strict=True):
        for column in ClientSecret.__table__.columns:
            assert getattr(found, column.name) == getattr(was, column.name), column.name


def test_another_accounts_client_cannot_be_edited(host: Host, htmx: bool, client: IdentityClient) -> None:
    """Its key is not found (A3)."""
    form = open_form(host, client).form(name="Mine now", client_secret=SECRET)
    host.actor = HARBOUR
    for answer in (
        host.get(f"/{client.id}/edit", htmx=htmx),
        host.post(f"/{client.id}/edit", form, htmx=htmx, token=False),
        host.post(f"/{client.id}/edit/form", form, htmx=htmx, token=False),
    ):
        assert answer.status_code == 404
        assert "Acme" not in answer.text
    assert stored(host, client).version == 1


# Generate and presets


def test_generate_proposes_a_secret_and_saves_nothing(host: Host, htmx: bool, client: IdentityClient) -> None:
    """The response is not compressed; all other typed values stay (S6)."""
    form = open_form(host, client).form(name="Typed name", client_secret=SECRET, generate="secret")
    answer = host.post(f"/{client.id}/edit/form", form, htmx=htmx, token=False)
    page = read(answer)
    assert answer.status_code == 200
    assert answer.headers["Pragma"] == "no-cache"
    assert is_generated(Secret(page.value("client_secret")))
    assert SECRET not in answer.text
    assert ("name" in page.inputs) is not htmx
    if not htmx:
        assert page.value("name") == "Typed name"
        assert page.value("version") == "1"
    assert stored(host, client).version == 1


def test_a_preset_chooses_its_roles(host: Host, htmx: bool, client: IdentityClient) -> None:
    form = open_form(host, client).form(preset="pay", client_secret=SECRET)
    answer = host.post(f"/{client.id}/edit/form", form, htmx=htmx, token=False)
    page = read(answer)
    assert [value for name, value in page.values if name == "roles"] == ["MerchantUser", "CreatePayment"]
    assert SECRET not in answer.text
    assert "vcs_" not in answer.text
    assert stored(host, client).version == 1


def test_htmx_attributes_hold_no_user_text(host: Host) -> None:
    """htmx reads only addresses of ours and constants (W17)."""
    client = make_client(
        host.engine, client_id="onclick=\"x'y", name='"><img src=x hx-get=/y onerror=z>', description="{{7*7}}"
    )
    page = open_form(host, client, htmx=True)
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name.startswith("hx-"):
                assert "onclick" not in value
                assert "img" not in value
                assert re.fullmatch(r"[\w\s/#:.\-?=&,]*", value), (tag, name, value)
    assert page.value("description") == "{{7*7}}"
    assert "img" not in [tag for tag, _ in page.tags]


# Questions


USED: dict[str, Any] = {**ORIGINAL, "last_token_at": utc_now() - timedelta(days=29)}
UNUSED: dict[str, Any] = {**ORIGINAL, "last_token_at": utc_now() - timedelta(days=31)}


@pytest.mark.parametrize(
    ("stored_values", "changes", "text", "button"),
    [
        (
            UNUSED,
            {"roles": ["MerchantUser", "UploadBatches", "CreatePayment"]},
            "more ways: Create single payments.",
            "let it move money",
        ),
        (USED, {"client_id": "acme-new"}, "Callers with acme-claims-prod are refused at once.", "rename it"),
        (USED, {"roles": ["MerchantUser"]}, "its next token lacks: ", "take roles away"),
        (USED, {"token_duration": "44"}, "end after 44 minutes in place of 45.", "shorten its tokens"),
        (USED, {"enabled": []}, "gets no tokens until it is enabled", "disable it"),
        (UNUSED, {"client_id": "acme-new"}, None, None),
        (UNUSED, {"roles": ["MerchantUser"]}, None, None),
        (UNUSED, {"enabled": []}, None, None),
        (USED, {"roles": ["MerchantUser", "UploadBatches", "ReportViewer"]}, None, None),
        (UNUSED, {"token_duration": "10"}, None, None),
        (USED, {"name": "Another name", "token_duration": "46"}, None, None),
    ],
)
def test_what_may_not_be_meant_is_asked_once(
    host: Host, htmx: bool, stored_values: dict[str, Any], changes: dict[str, Any], text: str | None, button: str | None
) -> None:
    """Beside Save, whose label says what it does; the second Save saves."""
    client = make_client(host.engine, **stored_values)
    form = open_form(host, client).form(**changes)
    answer = host.post(f"/{client.id}/edit", form, htmx=htmx, token=False)
    if text is None:
        assert answer.status_code == (200 if htmx else 303)
        return
    assert answer.status_code == 422
    assert text in answer.text.partition('id="f-warnings"')[2]
    assert f"Save and {button}</button>" in one_line(answer.text)
    assert stored(host, client).version == client.version
    again = read(answer).form(**changes)
    assert host.post(f"/{client.id}/edit", again, htmx=htmx, token=False).status_code == (200 if htmx else 303)
    assert stored(host, client).version == client.version + 1


def test_a_confirmation_is_for_these_roles_only(host: Host, client: IdentityClient) -> None:
    """Another role that moves money is asked about again; errors come first."""
    path = f"/{client.id}/edit"
    roles = ["MerchantUser", "UploadBatches", "CreatePayment"]
    form = open_form(host, client).form(roles=roles)
    asked = read(host.post(path, form, token=False)).form()
    more = {**asked, "roles": [*roles, "CreateUrgentPayments"]}
    answer = host.post(path, more, token=False)
    assert answer.status_code == 422
    assert 'id="f-warnings"' in answer.text
    wrong = host.post(path, {**form, "name": "x"}, token=False)
    assert 'id="f-warnings"' not in wrong.text
    assert read(wrong).value("confirmed") == ""
    assert stored(host, client).version == client.version


def test_the_message_says_what_callers_must_change(host: Host) -> None:
    client = make_client(host.engine, **USED)
    renamed = save(host, client, htmx=True, client_id="acme-new")
    assert "Callers must send acme-new as client ID from now." in renamed.text
    fewer = save(host, client, htmx=True, roles=["MerchantUser"])
    assert "are refused from now." in fewer.text
    assert "every" not in fewer.text
    shorter = save(host, client, htmx=True, token_duration="10")
    assert "Callers must ask for a new token every 10 minutes from now." in shorter.text
