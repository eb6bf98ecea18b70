"""New Client: the form, its messages, and the client that it creates."""

import gzip
import re
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.factories import make_client
from tests.support.host import HARBOUR, HTMX, NORTHWIND, PREFIX, Host, make_host
from tests.support.markup import one_line, read
from tests.support.screens import DIALOG_LIMIT_BYTES, SECRET, VALUES
from webapp.core.clients.roles import DEFAULT_ROLES
from webapp.core.database.models import AuditEvent, ClientSecret, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session
from webapp.core.secrets.generation import Secret, is_generated

HOSTILE = '"><img src=x hx-get=/y onerror=z>'


def clients(host: Host) -> list[IdentityClient]:
    with read_session(host.engine) as session:
        return list(session.scalars(select(IdentityClient).order_by(IdentityClient.id)))


# The form


def test_the_dialog_is_a_fragment_within_its_budget(host: Host) -> None:
    """At most 8 KB on the wire, all six fields, and no secret in a compressed response (S6, W12, W13)."""
    answer = host.client.get(PREFIX + "/new", headers={**HTMX, "Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.data) <= DIALOG_LIMIT_BYTES
    text = gzip.decompress(answer.data).decode()
    page = read(text)
    assert text.lstrip().startswith("<dialog")
    assert "<html" not in text
    assert {"client_id", "client_secret", "name", "description", "token_duration", "roles"} <= set(page.inputs)
    assert page.value("client_secret") == ""
    assert page.inputs["client_secret"]["autocomplete"] == "off"


def test_generate_fills_the_dialog_by_a_separate_response(host: Host) -> None:
    """Never compressed or cached; it holds the secret's field and nothing else of the form (S6, S3)."""
    generate = next(
        attributes
        for tag, attributes in read(host.get("/new", htmx=True)).tags
        if tag == "button" and attributes.get("name") == "generate"
    )
    assert generate["hx-trigger"] == "load, click"
    seen = set()
    for _ in range(2):
        answer = host.client.post(
            generate["hx-post"],
            data={"generate": "secret", "csrf_token": host.csrf_token(), "name": "typed"},
            headers={**HTMX, "Accept-Encoding": "gzip"},
        )
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"
        assert len(answer.data) <= DIALOG_LIMIT_BYTES
        page = read(answer)
        assert [name for name, _ in page.values] == ["client_secret"]
        assert is_generated(Secret(page.value("client_secret")))
        assert 'hx-trigger="load' not in answer.text
        seen.add(page.value("client_secret"))
    assert len(seen) == 2
    assert clients(host) == []


def test_the_page_proposes_a_secret_and_is_not_compressed(host: Host) -> None:
    """Without JavaScript the page itself holds the proposed secret (S6, W14)."""
    answer = host.client.get(PREFIX + "/new", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    page = read(answer)
    secret = page.value("client_secret")
    assert secret.startswith("vcs_")
    assert is_generated(Secret(secret))
    assert "nobody can view it" in page.described("client_secret")
    assert read(host.get("/new")).value("client_secret") != secret
    assert page.value("token_duration") == "15"


def test_enter_in_a_field_creates(host: Host, htmx: bool) -> None:
    """Browsers press the first button of a form, which must not be Generate or a preset."""
    page = read(host.get("/new", htmx=htmx))
    tags = [attributes for tag, attributes in page.tags if tag == "button" and attributes.get("type") != "button"]
    assert "name" not in tags[0]
    assert "formaction" not in tags[0]


def test_name_and_description_carry_no_maxlength(host: Host) -> None:
    """`maxlength` counts other units than the rule, and no field may cut off pasted text (I1)."""
    assert "maxlength" not in read(host.get("/new", htmx=True)).inputs["name"]
    assert not re.search(r"<(input|textarea)[^>]*(max|min)length", host.get("/new").text)


def test_only_roles_that_the_account_may_grant_are_offered(host: Host) -> None:
    """Grouped and described; roles that move money are marked (A4)."""
    everything = host.get("/new")
    for role in DEFAULT_ROLES:
        assert f'value="{role.key}"' in everything.text
        assert role.description in everything.text
    assert everything.text.count("Moves money") == sum(role.moves_money for role in DEFAULT_ROLES)
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser", "UploadBatches"}))
    assert re.findall(r'name="roles" value="(\w+)"', one_line(host.get("/new").text)) == [
        "MerchantUser",
        "UploadBatches",
    ]


def test_head_is_a_get(host: Host) -> None:
    assert host.client.head(PREFIX + "/new").status_code == 200


# Create


def test_create(host: Host, htmx: bool) -> None:
    """An enabled client with the typed values, by the form as a browser sends it."""
    page = read(host.get("/new"))
    answer = host.post("/new", page.form(**VALUES), htmx=htmx, token=False)
    assert answer.status_code == 200
    (client,) = clients(host)
    assert client.account_id == "northwind"
    assert client.client_id == "acme-claims-prod"
    assert client.name == "Acme claims"
    assert client.description == "Pays approved claims.\nOwner: claims@northwind.example"
    assert (client.owner, client.tags) == ("Priya Nair", frozenset({"production", "claims"}))
    assert client.token_duration_minutes == 25
    assert client.roles == {"MerchantUser", "CreatePayment"}
    assert client.enabled
    assert client.created_by == "Priya Nair"


# One value on each side of every limit; the rules themselves are tested in tests/core.
LIMITS = [
    ("client_id", "a" * 5, False),
    ("client_id", "a" * 6, True),
    ("client_id", "a" * 100, True),
    ("client_id", "a" * 101, False),
    ("client_secret", "xY3-k", False),
    ("client_secret", "xY3-k." * 16 + "wxyz", True),
    ("client_secret", "xY3-k." * 16 + "wxyz.", False),
    ("name", "", True),
    ("name", "ab", False),
    ("name", "abc", True),
    ("name", "a" * 100, True),
    ("name", "a" * 101, False),
    ("name", "😀" * 100, True),
    ("description", "a\r\n" * 500, True),
    ("description", "😀" * 1000, True),
    ("owner", "ab", False),
    ("owner", "a" * 100, True),
    ("tags", ",".join("0123456789"), True),
    ("tags", ",".join("0123456789a"), False),
    ("description", "a" * 1001, False),
    ("token_duration", "9", False),
    ("token_duration", "10", True),
    ("token_duration", "60", True),
    ("token_duration", "61", False),
    ("token_duration", "10.5", False),
    ("token_duration", "", False),
    ("token_duration", "ten", False),
    ("roles", [], False),
    ("roles", ["MerchantUser"], True),
    ("roles", ["NoSuchRole"], False),
]


@pytest.mark.parametrize(("name", "value", "accepted"), LIMITS)
def test_limits_of_each_field(host: Host, name: str, value: Any, accepted: bool) -> None:
    """A value beyond a limit gets 422 with a message at its field (I1, I2, A4)."""
    answer = host.post("/new", {**VALUES, name: value}, htmx=True)
    assert answer.status_code == (200 if accepted else 422)
    assert len(clients(host)) == accepted
    if not accepted:
        page = read(answer)
        assert page.inputs[name]["aria-invalid"] == "true"
        assert "Error:" in page.described(name)


def test_all_errors_are_shown_at_once_and_typed_values_are_kept(host: Host, htmx: bool) -> None:
    """422, a summary with links, a message at each field, and the secret not sent back (S6, W12)."""
    make_client(host.engine, account_id="harbour", client_id="Taken-Client")
    wrong: dict[str, Any] = {
        "client_id": "taken-client",
        "client_secret": "short",
        "name": "<b",
        "description": "x" * 1001,
        "token_duration": "1e1",
        "roles": [],
    }
    answer = host.post("/new", wrong, htmx=htmx)
    page = read(answer)
    assert answer.status_code == 422
    assert ("<html" in answer.text) is not htmx
    for name in wrong:
        assert page.inputs[name]["aria-invalid"] == "true"
        assert ("a", {"href": f"#f-{name}"}) in page.tags
        if name not in ("client_secret", "roles"):
            assert page.value(name) == wrong[name]
    alerts = [attributes for _, attributes in page.tags if attributes.get("role") == "alert"]
    assert len([alert for alert in alerts if "autofocus" in alert]) == 1
    if not htmx:
        assert "<title>Error: New Client</title>" in answer.text


def test_a_typed_secret_is_never_sent_back(host: Host, htmx: bool) -> None:
    """With htmx it stays in its field by morphing; without JavaScript the field has a new one, with a note (S6)."""
    answer = host.post("/new", {**VALUES, "name": "x"}, htmx=htmx)
    page = read(answer)
    assert answer.status_code == 422
    assert SECRET not in answer.text
    assert "value" not in page.inputs["client_secret"] if htmx else is_generated(Secret(page.value("client_secret")))
    assert ("is not sent back" in answer.text) is not htmx


@pytest.mark.parametrize("typed", ["", "   "])
def test_a_missing_secret_is_an_error_like_any_other(host: Host, typed: str) -> None:
    answer = host.post("/new", {**VALUES, "client_secret": typed}, htmx=True)
    assert answer.status_code == 422
    assert "client secret" in read(answer).text.lower()


def test_a_secret_is_never_trimmed(host: Host) -> None:
    secret = "  spaces belong to it  "
    warned = read(host.post("/new", {**VALUES, "client_secret": secret}, htmx=True))
    answer = host.post("/new", warned.form(client_secret=secret), htmx=True, token=False)
    assert answer.status_code == 200
    assert secret in answer.text


def test_a_form_writes_only_its_own_fields(host: Host) -> None:
    """Values for every column of every table of ours are posted (A5)."""
    foreign = make_client(host.engine, account_id="harbour", client_id="harbour-1")
    columns = [column.name for table in (IdentityClient, ClientSecret) for column in table.__table__.columns]
    forged = {name: "2001-01-01" if name.endswith("_at") else "forged" for name in columns} | {
        "id": str(foreign.id),
        "client_key": str(foreign.id),
        "account_id": "harbour",
        "enabled": "",
        "ends_at": "",
        "version": "99",
        "token_duration_minutes": "60",
    }
    before = foreign.version
    assert host.post("/new", {**forged, **VALUES}).status_code == 200
    made = next(client for client in clients(host) if client.account_id == "northwind")
    assert made.id != foreign.id
    assert made.enabled
    assert made.version == 1
    assert made.token_duration_minutes == 25
    assert made.created_by == made.updated_by == "Priya Nair"
    assert made.created_at == made.updated_at > utc_now() - timedelta(minutes=1)
    assert made.deleted_at is None
    with read_session(host.engine) as session:
        (secret,) = session.scalars(select(ClientSecret).where(ClientSecret.client_key == made.id))
        untouched = session.get_one(IdentityClient, foreign.id)
    assert secret.secret_hash.startswith("$argon2id$")
    assert secret.ends_at is None
    assert secret.last_used_at is None
    assert untouched.version == before


@pytest.mark.parametrize("minutes", [30, 30 + 1 / 60])
def test_creating_needs_a_recent_sign_in(host: Host, htmx: bool, minutes: float) -> None:
    """30 minutes are accepted; one second later nothing changes and the typed values are kept (W5)."""
    # The request itself takes some time.
    signed_in_at = utc_now() - timedelta(minutes=minutes) + timedelta(seconds=0.9 if minutes == 30 else 0)
    host.actor = replace(NORTHWIND, signed_in_at=signed_in_at)
    assert host.get("/new", htmx=htmx).status_code == 200
    answer = host.post("/new", VALUES, htmx=htmx)
    assert answer.status_code == (200 if minutes == 30 else 401)
    assert len(clients(host)) == (minutes == 30)
    if minutes > 30:
        assert "Sign in in a new tab" in answer.text
        assert (
            "<form" in answer.text
        ) is not htmx  # the dialog is left unchanged; the page is returned with the typed values
        assert (f'value="{VALUES["client_id"]}"' in answer.text) is not htmx


def test_a_signed_out_create_gets_a_notice_for_the_forms_own_message_area(host: Host) -> None:
    """The form stays as it is, so that no typed value is lost (W11)."""
    page = host.get("/new", htmx=True)
    token = host.csrf_token()
    host.actor = None
    answer = host.post("/new", {**VALUES, "csrf_token": token}, htmx=True, token=False)
    assert answer.status_code == 401
    assert "<form" not in answer.text
    assert 'hx-status:401:inherited="target:#ic-form-message swap:innerHTML"' in page.text
    assert "ic-form-message" in read(page).ids


# Weak secrets (S4)

WEAK = [
    ("xY3-k.wx", "It has fewer than 16 characters."),
    ("aaaaaaaaaaaaaaaaaaaa", "It repeats one character."),
    ("ACME-claims-production", "It equals the client ID or the name."),
    ("trustno1", "It is on the list of common passwords."),
    ("a-long+secret-with-a-plus", "+ and %"),
    ("a-long%secret-with-percent", "+ and %"),
    ("a-long-secret-and-a-space ", "It starts or ends with a space."),  # S10
    (" a-long-secret-and-a-space", "It starts or ends with a space."),
]


@pytest.mark.parametrize(("secret", "rule"), WEAK)
def test_a_weak_secret_is_warned_about_before_it_is_saved(host: Host, htmx: bool, secret: str, rule: str) -> None:
    """The first Create shows the warning and saves nothing; the second saves the secret (S4)."""
    values = {**VALUES, "client_id": "acme-claims-production", "client_secret": secret}
    answer = host.post("/new", values, htmx=htmx)
    page = read(answer)
    assert answer.status_code == 422
    assert clients(host) == []
    assert rule in page.described("client_secret")
    assert page.inputs["client_secret"]["aria-invalid"] == "false"
    assert secret not in answer.text
    again = host.post("/new", page.form(client_secret=secret), htmx=htmx, token=False)
    assert again.status_code == 200
    assert len(clients(host)) == 1


def test_a_warning_shown_when_the_field_lost_focus_needs_no_second_press(host: Host) -> None:
    """A different warning needs one (S4)."""
    message = read(host.post("/check?field=client_secret", {"client_secret": "xY3-k.wx"}, htmx=True))
    read_warning = {**VALUES, "secret_warning": message.value("secret_warning")}
    assert host.post("/new", {**read_warning, "client_secret": "bbbbbb"}, htmx=True).status_code == 422
    assert host.post("/new", {**read_warning, "client_secret": "zW9-q.ab"}, htmx=True).status_code == 200


@pytest.mark.parametrize(
    ("client_id", "warned"),
    [("acme:claims", True), ("acme+claims", True), ("acme%claims", True), ("acme-claims_1.x y/~!", False)],
)
def test_a_client_id_that_callers_send_wrongly_is_warned_of_before_it_is_saved(
    host: Host, htmx: bool, client_id: str, warned: bool
) -> None:
    """Many callers do not form-encode it for HTTP Basic; the second Create takes it as it is."""
    left = host.post("/check?field=client_id", {"client_id": client_id}, htmx=True)
    assert ("wrongly by HTTP Basic" in left.text) is warned
    answer = host.post("/new", {**VALUES, "client_id": client_id}, htmx=htmx)
    if warned:
        page = read(answer)
        assert answer.status_code == 422
        assert clients(host) == []
        assert "wrongly by HTTP Basic" in page.described("client_id")
        assert "Read the note at “Client ID”" in page.texts["ic-form-message"]
        answer = host.post("/new", page.form(client_secret=SECRET), htmx=htmx, token=False)
    assert answer.status_code == 200
    assert [client.client_id for client in clients(host)] == [client_id]


def test_the_warning_is_shown_with_all_errors(host: Host) -> None:
    """One response has both (S4)."""
    page = read(host.post("/new", {**VALUES, "client_secret": "xY3-k.wx", "roles": []}, htmx=True))
    assert page.inputs["roles"]["aria-invalid"] == "true"
    assert "Read the note" in page.texts["ic-form-message"]


@pytest.mark.parametrize(("secret", "rule"), WEAK[:4])
def test_with_the_setting_a_weak_secret_is_refused(host: Host, secret: str, rule: str) -> None:
    """422, and the message names the rule (S4)."""
    strict = make_host(host.engine, refuse_weak_secrets=True)
    values = {**VALUES, "client_id": "acme-claims-production", "client_secret": secret}
    for _ in range(2):
        page = read(strict.post("/new", values, htmx=True))
        assert page.inputs["client_secret"]["aria-invalid"] == "true"
        assert rule in page.described("client_secret")
        values = {**values, "secret_warning": rule}
    assert clients(strict) == []
    message = strict.post("/check?field=client_secret", values, htmx=True)
    assert rule in message.text


# Create twice


def test_pressing_create_twice_makes_one_client(host: Host, htmx: bool) -> None:
    """The second response makes nothing, shows no secret, and links to a new secret."""
    form = read(host.get("/new")).form(**VALUES)
    assert host.post("/new", form, htmx=htmx, token=False).status_code == 200
    answer = host.post("/new", form, htmx=htmx, token=False)
    assert answer.status_code == 409
    assert "already created" in answer.text
    assert SECRET not in answer.text
    (client,) = clients(host)
    assert f'href="{PREFIX}/{client.id}"' in answer.text
    assert f'href="{PREFIX}/{client.id}/secret"' in answer.text
    assert (answer.headers.get("HX-Retarget") == "#ic-dialog") is htmx
    assert host.post("/new", {**VALUES, "client_id": "another-client"}).status_code == 200


def test_the_one_time_key_survives_a_422(host: Host) -> None:
    form = read(host.get("/new")).form(**VALUES)
    wrong = read(host.post("/new", {**form, "name": "x"}, htmx=True, token=False))
    assert wrong.value("creation_key") == form["creation_key"][0]
    assert read(host.get("/new")).value("creation_key") != form["creation_key"][0]


# Generate and presets


def test_generate_without_javascript_keeps_the_other_fields(host: Host) -> None:
    page = read(host.get("/new"))
    answer = host.post("/new/form", page.form(**VALUES, generate="secret"), token=False)
    again = read(answer)
    assert answer.status_code == 200
    assert answer.headers["Pragma"] == "no-cache"
    assert again.value("client_secret") not in (SECRET, page.value("client_secret"))
    assert is_generated(Secret(again.value("client_secret")))
    assert SECRET not in answer.text
    assert {**again.form(), "client_secret": "", "csrf_token": ""} == {
        **{name: [value] for name, value in VALUES.items()},
        "roles": VALUES["roles"],
        "client_secret": "",
        "ends_at": [""],
        "csrf_token": "",
        "creation_key": [page.value("creation_key")],
    }
    assert clients(host) == []


@pytest.mark.parametrize(
    ("preset", "roles"),
    [
        ("read", ["MerchantUser", "AccountViewer", "TransactionViewer", "ReportViewer"]),
        ("pay", ["MerchantUser", "CreatePayment"]),
        ("none", []),
    ],
)
def test_a_preset_chooses_its_roles(host: Host, htmx: bool, preset: str, roles: list[str]) -> None:
    """With htmx only the role picker is replaced; without JavaScript the page keeps all other fields."""
    answer = host.post("/new/form", {**VALUES, "roles": ["UploadBatches"], "preset": preset}, htmx=htmx)
    page = read(answer)
    assert answer.status_code == 200
    assert [value for name, value in page.values if name == "roles"] == roles
    assert f"{len(roles)} chosen" in page.texts["f-roles"]
    assert SECRET not in answer.text
    if htmx:
        assert answer.text.lstrip().startswith("<fieldset")
        assert {name for name, _ in page.values} <= {"roles"}
    else:
        assert page.value("name") == "Acme claims"
        assert "is not sent back" in answer.text
    assert clients(host) == []


def test_a_forged_preset_or_role_grants_nothing(host: Host, htmx: bool) -> None:
    """422 for a role of the catalogue that the account does not hold (A4)."""
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser"}))
    preset = read(host.post("/new/form", {**VALUES, "preset": "pay"}, htmx=htmx))
    assert ("roles", "CreatePayment") not in preset.values
    answer = host.post("/new", VALUES, htmx=htmx)
    page = read(answer)
    assert answer.status_code == 422
    assert "Create single payments" in page.described("roles")
    assert clients(host) == []


# The check of a field that loses focus

CHECKS = [
    ("client_id", "abc", "6 to 100"),
    ("client_id", "good-client-id", ""),
    ("client_secret", "abc", "6 to 100"),
    ("client_secret", "", "Enter a secret"),
    ("client_secret", "xY3-k.wx-long-enough-now", ""),
    ("name", "ab", "3 to 100"),
    ("name", "", ""),
    ("description", "x" * 1001, "1,000"),
    ("token_duration", "61", "10 to 60"),
    ("token_duration", "15", ""),
]


@pytest.mark.parametrize(("name", "value", "message"), CHECKS)
def test_a_field_is_checked_when_it_loses_focus(host: Host, name: str, value: str, message: str) -> None:
    """With the message of the rule; nothing is saved, and the value is not sent back."""
    answer = host.post(f"/check?field={name}", {name: value}, htmx=True)
    assert answer.status_code == 200
    assert message in answer.text
    assert ("ic-err" in answer.text) is bool(message)
    assert "Location" not in answer.headers
    assert clients(host) == []


def test_each_checked_field_has_its_message_just_before_it(host: Host) -> None:
    """The response of a check replaces the element that describes the field, in both renderings."""
    for htmx in (False, True):
        page = read(host.get("/new", htmx=htmx))
        slot = ""
        checked = []
        for tag, attributes in page.tags:
            if attributes.get("class") == "ic-slot":
                slot = attributes["id"]
            if "data-check" in attributes and tag != "div":  # the message of the roles is below them
                assert attributes["hx-target"] == "previous .ic-slot"
                assert f"field={attributes['name']}" in attributes["hx-post"]
                assert slot == f"f-{attributes['name']}-m"
                assert slot in attributes["aria-describedby"].split()
                checked.append(attributes["name"])
        assert checked == ["client_id", "client_secret", "name", "description", "token_duration", "owner", "tags"]


@pytest.mark.parametrize("path", ["/check", "/check?field=", "/check?field=enabled", "/check?field=__class__"])
def test_a_check_of_anything_else_is_not_found(host: Host, path: str) -> None:
    assert host.post(path, {"enabled": "y"}, htmx=True).status_code == 404


def test_a_taken_id_is_reported_within_the_quota_only(host: Host) -> None:
    """Own, foreign and former IDs get equal responses; a free ID can always be created (A6)."""
    make_client(host.engine, account_id="northwind", client_id="own-client")
    make_client(host.engine, account_id="harbour", client_id="foreign-client")
    make_client(host.engine, account_id="harbour", client_id="deleted-client", deleted_at=utc_now())

    def check(client_id: str) -> str:
        return host.post("/check?field=client_id", {"client_id": client_id}, htmx=True).text

    answers = {check(client_id) for client_id in ("own-client", "FOREIGN-client", "deleted-client")}
    assert len(answers) == 1
    assert "already in use" in answers.pop()
    for _ in range(17):
        assert "already in use" in check("foreign-client")
    assert check("foreign-client").strip() == ""
    assert host.post("/new", VALUES, htmx=True).status_code == 200


def test_beyond_the_quota_create_is_429_and_what_was_typed_is_kept(host: Host, htmx: bool) -> None:
    """With Retry-After; with htmx the form is left as it is, otherwise the page has the typed values (A6, D5)."""
    make_client(host.engine, account_id="harbour", client_id="foreign-client")
    strict = make_host(host.engine, taken_id_answers_per_hour=1)
    values = {**VALUES, "client_id": "foreign-client"}
    assert strict.post("/new", values, htmx=htmx).status_code == 422
    answer = strict.post("/new", values, htmx=htmx)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 3600
    assert "in use. Choose" not in answer.text
    assert SECRET not in answer.text
    if htmx:
        assert "<form" not in answer.text
    else:
        assert read(answer).value("name") == "Acme claims"
    assert len(clients(strict)) == 1


def test_a_check_for_a_foreign_client_is_not_found(host: Host) -> None:
    """Otherwise it would reveal whose an ID is (A3)."""
    foreign = make_client(host.engine, account_id="harbour", client_id="foreign-client")
    for key in (str(foreign.id), str(uuid.uuid4()), "nonsense"):
        answer = host.post(f"/check?field=client_id&client={key}", {"client_id": "foreign-client"}, htmx=True)
        assert answer.status_code == 404
        assert "foreign" not in answer.text


# Copy


@pytest.fixture
def original(host: Host) -> IdentityClient:
    return make_client(
        host.engine,
        client_id="acme-original",
        name="Acme original",
        description="Two\nlines",
        token_duration=45,
        roles=["MerchantUser", "UploadBatches"],
        owner="Claims platform",
        tags=["production", "claims"],
    )


def test_copy_fills_the_form_without_id_and_secret(host: Host, htmx: bool, original: IdentityClient) -> None:
    page = read(host.get(f"/new?copy={original.id}", htmx=htmx))
    assert page.value("client_id") == ""
    assert page.value("name") == "Acme original"
    assert page.value("description") == "Two\nlines"
    assert page.value("token_duration") == "45"
    assert (page.value("owner"), page.value("tags")) == ("Claims platform", "claims, production")
    assert [value for name, value in page.values if name == "roles"] == ["MerchantUser", "UploadBatches"]
    assert "acme-original" in page.text
    form = page.form(client_id="acme-copied", client_secret=SECRET)
    action = next(attributes["action"] for tag, attributes in page.tags if tag == "form" and "action" in attributes)
    assert host.client.post(action, data=form, headers=HTMX if htmx else None).status_code == 200
    with read_session(host.engine) as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.client_id == "acme-copied")).one()
    assert event.changes["copied_from"] == [None, "acme-original"]


def test_a_copy_leaves_out_what_may_no_longer_be_granted(host: Host, htmx: bool, original: IdentityClient) -> None:
    """The form says so, also after an error (A4)."""
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser"}))
    for answer in (
        host.get(f"/new?copy={original.id}", htmx=htmx),
        host.post(f"/new?copy={original.id}", {**VALUES, "name": "x"}, htmx=htmx),
    ):
        page = read(answer)
        assert ("roles", "UploadBatches") not in page.values
        assert "no longer holds them: Upload batches" in " ".join(page.text.split())


def test_another_accounts_client_cannot_be_copied(host: Host, original: IdentityClient) -> None:
    """It is not found (A3, A7)."""
    host.actor = HARBOUR
    for answer in (
        host.get(f"/new?copy={original.id}"),
        host.post(f"/new?copy={original.id}", VALUES),
        host.post(f"/new/form?copy={original.id}", VALUES),
        host.get("/new?copy=nonsense"),
    ):
        assert answer.status_code == 404
        assert "Acme original" not in answer.text


# Hostile names


def test_a_hostile_name_is_inert(host: Host, htmx: bool) -> None:
    """In the form, the handover and the copy (W17)."""
    values = {**VALUES, "name": HOSTILE, "description": "</textarea>" + HOSTILE, "client_id": 'a"><b onclick=x>'}
    answers = [
        host.post("/new", {**values, "roles": []}, htmx=htmx),
        host.post("/new/form", {**values, "generate": "secret"}, htmx=htmx),
        host.post("/check?field=name", values, htmx=htmx),
        host.post("/new", values, htmx=htmx),
    ]
    (client,) = clients(host)
    answers += [host.get(f"/new?copy={client.id}", htmx=htmx), host.get(f"/{client.id}/edit", htmx=htmx)]
    assert answers[3].status_code == 200
    for answer in answers:
        page = read(answer)
        assert not [tag for tag, _ in page.tags if tag in ("img", "b") and "src" in dict(_)]
        assert not [name for _, attributes in page.tags for name in attributes if name in ("onerror", "onclick")]
        for name, value in answer.headers:
            assert not name.startswith("HX-") or HOSTILE not in value
    assert read(answers[-1]).value("name") == HOSTILE
