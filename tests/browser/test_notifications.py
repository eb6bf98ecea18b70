"""Notifications as an administrator sets them, with a receiver on this machine."""

import json

import pytest
from playwright.sync_api import Page, expect
from standardwebhooks import Webhook

from tests.support.browser import Merchant, Visit
from tests.support.pages import ClientList, Confirmation, Notifications
from tests.support.receivers import receive_webhooks


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_webhook_is_added_tested_and_gets_a_change(merchant: Merchant, visit: Visit, script: bool) -> None:
    """The thread of the server delivers, and the page shows it without being reloaded where there is a script."""
    with receive_webhooks() as hooks:
        tab = visit(merchant.admin, java_script_enabled=script)
        notifications = ClientList.open(tab).notifications()
        form = notifications.add("Add webhook")
        form.root.get_by_label("URL").fill("ftp://hooks.example")
        form.save_with_errors()
        form.root.get_by_label("URL").fill(hooks.url)
        form.root.get_by_label("A client is deleted").check()
        form.press()
        secret = tab.locator("#ic-handover-secret").inner_text()
        tab.get_by_label("I have saved the secret").check()
        tab.get_by_role("button", name="Done").click()
        notifications = Notifications(tab)
        expect(notifications.addresses).to_contain_text(f"http://127.0.0.1:{hooks.port}/…")
        notifications.press("Send a test")
        expect(tab.get_by_role("status").filter(has_text="The test message is on its way.")).to_have_count(1)
        _expect_in_log(tab, "Delivered", script=script)
        client = merchant.add_client()
        ClientList.open(tab).menu(client.client_id).delete().root.get_by_role("textbox").fill(client.client_id)
        Confirmation(tab).confirm(then=ClientList)
        notifications = Notifications.open(tab)
        _expect_in_log(tab, client.client_id, script=script)
        _expect_in_log(tab, "Delivered", script=script, count=2)
        notifications.press("Remove")
        Confirmation(tab).confirm(then=Notifications)
        expect(tab.get_by_text("No address is set, so no messages are sent.")).to_be_visible()
    test, deleted = [Webhook(secret).verify(body, headers) for headers, body in hooks.requests]
    assert test["type"] == "test"
    assert (deleted["type"], deleted["data"]["client"]["client_id"]) == ("client.deleted", client.client_id)
    assert secret not in json.dumps([test, deleted])


def _expect_in_log(tab: Page, words: str, *, script: bool, count: int = 1) -> None:
    found = tab.locator("section", has=tab.get_by_role("heading", name="Messages")).get_by_text(words)
    if script:
        expect(found).to_have_count(count, timeout=20_000)
        return
    for _ in range(40):
        if found.count() == count:
            return
        tab.wait_for_timeout(500)
        tab.reload()
    expect(found).to_have_count(count)
