"""Test now, from the handover and from the page of a client, with and without JavaScript."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browser import Merchant, Visit
from tests.support.pages import Details, NewClient


@pytest.mark.parametrize("options", [{}, {"java_script_enabled": False}], ids=["script", "plain"])
def test_a_secret_is_tested_as_it_is_handed_over_and_later(
    merchant: Merchant, visit: Visit, options: dict[str, Any]
) -> None:
    """The handover stays until Done; a secret that was typed stays in its field only with JavaScript (S6)."""
    page = visit(merchant.admin, **options)
    form = NewClient.open(page)
    form.fill(client_id=merchant.new_id).choose(["MerchantUser"])
    handover = form.create()
    secret = handover.test("Issued").secret
    details = handover.done(Details)
    test = details.test().test(secret + "x", "The secret was none of this client’s.")
    typed = test.root.get_by_label("Client secret", exact=True)
    expect(typed).to_have_value("" if options else secret + "x")
    test.test(secret, "eyJ")
    assert secret not in test.page.content()
    test.root.get_by_role("link", name="Close").last.click()
    expect(test.root).to_have_count(0)  # a test leaves nothing to be saved
