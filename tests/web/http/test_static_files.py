"""Our stylesheet and scripts: how they are assembled, and when a change is served."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support import servers
from tests.support.host import PREFIX, Host, make_host
from webapp.web.http import static_files

STATIC = servers.ROOT / "static" / "identity_clients"


def served(host: Host, name: str = "app.css") -> str:
    """Return a file from the address in a current page."""
    link = re.search(rf'"({re.escape(PREFIX)}/static/[0-9a-f]{{16}}/{re.escape(name)})"', host.get().text)
    assert link
    return host.client.get(link[1]).text


def test_the_stylesheet_is_one_file_in_the_order_of_its_imports(host: Host) -> None:
    css = served(host)
    places = [css.index(f"\n{rule}") for rule in (".ic-page {", ".ic-btn {", "label,", ".ic-cards {", ".ic-toasts {")]
    assert [css.index("@layer ic {"), *places] == sorted([css.index("@layer ic {"), *places])
    assert css.count("{") == css.count("}")
    for left_out in ("@import", "/*", "\n ", "\n\n"):
        assert left_out not in css
    folder = STATIC / "css"
    assert css.count(":is(.ic, #ic) {") == sum(
        ":is(.ic, #ic) {" in path.read_text("utf-8") for path in folder.iterdir()
    )


def test_parts_of_the_stylesheet_have_no_url(host: Host) -> None:
    with host.app.test_request_context(PREFIX):
        assert sorted(static_files.assets()) == ["api.css", "app.css", "app.js", "vendor/htmx-4.0.1.min.js"]


@pytest.mark.parametrize("development", [True, False])
def test_a_changed_file_is_served_at_once_in_development_mode_only(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, development: bool
) -> None:
    shutil.copytree(STATIC, tmp_path / "static" / "identity_clients")
    monkeypatch.setattr(static_files, "resource_folder", lambda name: tmp_path / name)
    changing = make_host(host.engine, development=development)
    assert "hotpink" not in served(changing)
    part = tmp_path / "static" / "identity_clients" / "css" / "buttons.css"
    part.write_text(part.read_text("utf-8") + ".ic-btn { color: hotpink }\n", "utf-8")
    os.utime(part, (2**31, 2**31))
    assert ("hotpink" in served(changing)) is development
