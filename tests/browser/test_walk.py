"""The second walk of `docs/api.md`: a key made in the browser, a token from Node, and warnings of a secret's end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, expect
from standardwebhooks import Webhook

from tests.oauth.test_node_client import LIBRARIES, node
from tests.support import servers
from tests.support.api import allow_api, make_caller
from tests.support.browser import TIMEOUT_MILLISECONDS, sign_in
from tests.support.factories import PEPPER_SETTING, SECRET
from tests.support.guide import blocks
from tests.support.pages import Details, Notifications
from tests.support.receivers import Mailbox, Webhooks, receive_mail, receive_webhooks
from webapp.core.database.engine import make_engine
from webapp.core.database.unit_of_work import read_session
from webapp.standalone import users

GUIDE = (servers.ROOT / "docs" / "api.md").read_text("utf-8")
HEADING = "A walk from a key to a warning"
ADMIN = "admin@northwind.example"

__all__ = ["node"]


def test_from_a_key_to_a_warning(browser: Browser, node: str, tmp_path: Path) -> None:
    """Every command of the guide; its steps on the screens are done in Chromium."""
    with receive_mail() as mailbox, receive_webhooks() as hooks:
        settings = {
            "IDENTITY_CLIENTS_PEPPER": PEPPER_SETTING,
            "IDENTITY_CLIENTS_SMTP_HOST": mailbox.host,
            "IDENTITY_CLIENTS_SMTP_PORT": str(mailbox.port),
            "IDENTITY_CLIENTS_SMTP_SECURITY": "none",
            "IDENTITY_CLIENTS_MAIL_FROM": "no-reply@mas.example",
        }
        with servers.serve(tmp_path, **settings) as server:
            _walk(browser, node, tmp_path, server, settings, mailbox, hooks)


def _walk(
    browser: Browser,
    node: str,
    folder: Path,
    server: servers.LiveServer,
    settings: dict[str, str],
    mailbox: Mailbox,
    hooks: Webhooks,
) -> None:
    _add_caller(server)
    variables = {"CLIENT_ID": "walk-deployer", "CLIENT_SECRET": SECRET, "MAS": server.url}
    preparation = "\n".join(blocks("A walk with curl", "sh", GUIDE)[:2]).replace("http://127.0.0.1:5000", server.url)
    create, run_node, end = blocks(HEADING, "sh", GUIDE)

    def run(commands: str, **more: str) -> str:
        shell = ["bash", "-e", "-o", "pipefail", "-c", f"{preparation}\n{commands}"]
        environment = os.environ | variables | more
        done = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(create)
    created = json.loads((folder / "created.json").read_text())
    with browser.new_context(base_url=server.url, accept_downloads=True) as context:
        context.set_default_timeout(3 * TIMEOUT_MILLISECONDS)
        sign_in(context, ADMIN, server.password)
        tab = context.new_page()
        Details.open(tab, created["id"]).root.get_by_role("link", name="Add key").click()
        form = tab.get_by_role("dialog")
        with tab.expect_download() as download:
            form.get_by_role("button", name="Make a key pair in this browser").click()
        download.value.save_as(folder / download.value.suggested_filename)
        form.get_by_role("button", name="Add key").click()
        expect(tab.get_by_text("Key added.")).to_be_visible()
        secret = ""
        for label, address in (("Add e-mail address", "ops@northwind.example"), ("Add webhook", hooks.url)):
            target = Notifications.open(tab).add(label)
            target.root.locator("#f-address").fill(address)
            target.root.get_by_label("A secret or key ends soon").check()
            target.press()
            if label == "Add webhook":
                secret = tab.locator("#ic-handover-secret").inner_text()
            else:
                expect(Notifications(tab).addresses).to_contain_text(address)
    (folder / "token.mjs").write_text(blocks(HEADING, "js", GUIDE)[0])
    (folder / "node_modules").symlink_to(LIBRARIES / "node_modules")
    printed = run(run_node.replace("npm install openid-client\n", "").replace("node ", f"{node} "))
    assert printed.splitlines()[-1] == "API"
    run(end)
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "identity-clients", "attention"]
    own = {
        "IDENTITY_CLIENTS_DEVELOPMENT": "true",
        "IDENTITY_CLIENTS_DATABASE_URL": server.database_url,
        "INSTANCE_PATH": str(folder / "instance"),
    }
    done = subprocess.run(command, cwd=servers.ROOT, env=os.environ | settings | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 60
    while not (_mails(mailbox) and _messages(hooks, secret)):
        assert time.monotonic() < deadline, (mailbox.mails, hooks.requests)
        time.sleep(0.2)
    assert _mails(mailbox) == ["A secret of night-batch ends within 1 day"]
    [message] = _messages(hooks, secret)
    assert (message["data"]["secret"], message["data"]["days"]) == ("A", 1)
    body = {"grant_type": "client_credentials", "client_id": "night-batch", "client_secret": created["client_secret"]}
    assert requests.post(f"{server.url}/connect/token", data=body, timeout=10).status_code == 200, "not ended yet"


def _add_caller(server: servers.LiveServer) -> None:
    engine = make_engine(server.database_url)
    with read_session(engine) as session:
        account = users.find_account(session, "Northwind Insurance")
        assert account
    allow_api(engine, account.id)
    make_caller(engine, "walk-deployer", account_id=account.id, roles=("ManageIdentityClients", "MerchantUser"))
    engine.dispose()


def _mails(mailbox: Mailbox) -> list[str]:
    """Return the subjects of the e-mails on this client."""
    return [str(mail["Subject"]) for mail in mailbox.mails if "night-batch" in str(mail["Subject"])]


def _messages(hooks: Webhooks, secret: str) -> list[dict[str, Any]]:
    """Return the messages on this client, whose signature is verified."""
    found = [Webhook(secret).verify(body, headers) for headers, body in hooks.requests]
    return [message for message in found if message["data"]["client"]["client_id"] == "night-batch"]
