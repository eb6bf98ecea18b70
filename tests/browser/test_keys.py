"""Keys that are made, read from a file or pasted in the browser: the private one is never sent (S11)."""

import base64
import json
import re
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from playwright.sync_api import Page, Request, expect

from tests.support.browser import Merchant, Visit
from tests.support.keys import make_claims, private_key, private_pem, public_pem, sign, with_assertion
from tests.support.pages import PREFIX, Details
from tests.support.servers import LiveServer

MADE = re.compile("It was sent nowhere")


def open_form(tab: Page, key: object) -> Page:
    """Open Add key on the page of a client."""
    Details.open(tab, key).root.get_by_role("link", name="Add key").click()
    expect(tab.get_by_role("dialog")).to_be_visible()
    return tab


def private_part(key: EllipticCurvePrivateKey) -> list[str]:
    """Return the secret number of a key in the forms in which it could be sent."""
    number = key.private_numbers().private_value
    raw = number.to_bytes(32)
    return [
        str(number),
        raw.hex(),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        *private_pem(key).splitlines()[1:-1],
    ]


def test_a_key_made_in_the_browser_gets_a_token(
    visit: Visit, merchant: Merchant, live_server: LiveServer, tmp_path: Path
) -> None:
    """The private key is saved as a file; no request contains it, and it works."""
    client = merchant.add_client()
    tab = visit(merchant.admin, own=True)
    sent: list[Request] = []
    tab.context.on("request", lambda request: sent.append(request))
    form = open_form(tab, client.id)
    with tab.expect_download() as download:
        form.get_by_role("button", name="Make a key pair in this browser").click()
    expect(form.get_by_text(MADE)).to_be_visible()
    assert download.value.suggested_filename == f"{client.client_id}-private-key.pem"
    download.value.save_as(tmp_path / "key.pem")
    key = load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    members = json.loads(form.get_by_label("Public key", exact=True).input_value())
    assert members.keys() == {"kty", "crv", "x", "y"}
    form.get_by_role("dialog").get_by_role("button", name="Add key").click()
    expect(tab.get_by_text("Key added.")).to_be_visible()
    expect(Details(tab).section("Keys")).to_contain_text("Key 1")
    tab.reload()
    posted = [request.post_data or "" for request in sent]
    assert any("public_key" in body for body in posted)
    for part in private_part(key):
        assert not [request.url for request in sent if part in request.url + (request.post_data or "")]
        assert part not in tab.content()
    assertion = sign(make_claims(client.client_id, aud=live_server.url), key)
    response = requests.post(f"{live_server.url}/connect/token", data=with_assertion(assertion), timeout=10)
    assert response.status_code == 200, response.text


def test_a_key_is_read_from_a_file(visit: Visit, merchant: Merchant, tmp_path: Path) -> None:
    """Public PEM fills the field; a private one is refused in the browser, and sent nowhere."""
    client = merchant.add_client()
    tab = visit(merchant.admin, own=True)
    sent: list[Request] = []
    tab.context.on("request", lambda request: sent.append(request))
    form = open_form(tab, client.id)
    field = form.get_by_label("Public key", exact=True)
    (tmp_path / "private.pem").write_text(private_pem(private_key()))
    (tmp_path / "public.pem").write_text(public_pem(private_key()))
    form.get_by_label("Public key from a file").set_input_files(tmp_path / "private.pem")
    expect(form.get_by_role("alert").get_by_text("treat it as leaked")).to_be_visible()
    expect(field).to_have_value("")
    form.get_by_label("Public key from a file").set_input_files(tmp_path / "public.pem")
    expect(field).to_have_value(public_pem(private_key()))
    expect(form.get_by_text("treat it as leaked")).to_have_count(0)
    field.fill(private_pem(private_key()))
    expect(field).to_have_value("")
    expect(form.get_by_role("alert").get_by_text("treat it as leaked")).to_be_visible()
    assert not [request for request in sent if "PRIVATE" in (request.post_data or "")]


@pytest.mark.parametrize("key", ["ES256", "EdDSA"])
def test_a_key_is_pasted_without_javascript(visit: Visit, merchant: Merchant, key: str) -> None:
    """The tools of the script are not shown."""
    client = merchant.add_client()
    tab = visit(merchant.admin, java_script_enabled=False)
    tab.goto(f"{PREFIX}/{client.id}/keys")
    expect(tab.get_by_role("button", name="Make a key pair in this browser")).to_be_hidden()
    expect(tab.get_by_label("Public key from a file")).to_be_hidden()
    tab.get_by_label("Public key", exact=True).fill(public_pem(private_key(key)))
    tab.get_by_role("button", name="Add key").click()
    expect(Details(tab).section("Keys")).to_contain_text("Key 1")
