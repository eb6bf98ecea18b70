"""What `init_app` reads and refuses, and what becomes of an application that is dropped."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine

from tests.support.embedding import TOKEN, embed
from tests.support.host import PREFIX
from webapp.core.database.engine import make_engine


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    engine = make_engine(sqlite_url)
    yield engine
    engine.dispose()


@pytest.mark.parametrize(
    ("name", "value"),
    [("PLATFORM_NAME", "Quayside"), ("TRUSTED_PROXIES", 1), ("ISSUER", "https://other.example"), ("UNKNOWN", "x")],
)
def test_e6_a_setting_made_after_init_app_is_refused_by_name(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture, name: str, value: object
) -> None:
    """E6: on the screens, at the endpoint and by the commands, and never by the host's own pages."""
    app = embed(Flask("host"), sqlite_engine)
    app.add_url_rule("/own", "own", lambda: "own")
    browser = app.test_client()
    assert browser.get(PREFIX).status_code == 200
    setting = f"IDENTITY_CLIENTS_{name}"
    before = app.config.get(setting)
    app.config[setting] = value
    for response in (
        browser.get(PREFIX),
        browser.post("/connect/token", base_url="https://localhost", data=TOKEN),
        browser.get("/.well-known/jwks.json", base_url="https://localhost"),
    ):
        assert response.status_code == 500
    assert caplog.text.count(f"{setting} was changed after init_app") >= 3
    command = app.test_cli_runner().invoke(args=["identity-clients", "keys", "list"])
    assert setting in str(command.exception)
    assert browser.get("/own").text == "own"
    if before is None:
        del app.config[setting]
    else:
        app.config[setting] = before
    assert browser.get(PREFIX).status_code == 200
