"""`make run` delivers notifications by itself; a host runs a command."""

import threading
import time
from pathlib import Path

from flask import Flask

from tests.support.factories import make_client
from tests.support.notifications import make_target, notifying
from tests.support.receivers import receive_mail
from tests.support.servers import serve
from webapp.core.database.engine import make_engine
from webapp.core.notifications.kinds import EventKind


def test_the_server_sends_mail(tmp_path: Path) -> None:
    with (
        receive_mail() as mailbox,
        serve(
            tmp_path,
            IDENTITY_CLIENTS_SMTP_HOST=mailbox.host,
            IDENTITY_CLIENTS_SMTP_PORT=str(mailbox.port),
            IDENTITY_CLIENTS_SMTP_SECURITY="none",
            IDENTITY_CLIENTS_MAIL_FROM="no-reply@vitesse.example",
        ) as server,
    ):
        engine = notifying(make_engine(server.database_url))
        make_target(engine, "ops@new-account.example", [EventKind.CREATED], account_id="new-account")
        make_client(engine, account_id="new-account", client_id="acme-claims-by-mail")
        deadline = time.monotonic() + 30
        while not mailbox.mails and time.monotonic() < deadline:
            time.sleep(0.1)
        engine.dispose()
        assert f"{server.url}/administration/identity-clients/" in mailbox.text()
        assert mailbox.mails[0]["Subject"] == "Identity client acme-claims-by-mail was created"


def test_an_application_starts_no_thread(app: Flask) -> None:
    """Only the server's own entry point does, so that a host decides who delivers."""
    assert app.name == "webapp.standalone"
    assert [thread for thread in threading.enumerate() if "identity-clients" in thread.name] == []
