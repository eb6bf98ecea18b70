"""`examples/host_mas`: an existing portal, before and after the product is added (E2, E3)."""

import base64
import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.portal import (
    BASIC_OWNER,
    CASHIER,
    DIFF,
    EXAMPLE,
    INTEGRATOR,
    LIST,
    OTHER_OWNER,
    OWNER,
    PASSWORD,
    MakePortal,
    Portal,
)
from tests.support.servers import ROOT

VENDORED = {
    EXAMPLE
    / "webapp/static/pico-2.1.1.classless.min.css": "NZhm4G1I7BpEGdjDKnzEfy3d78xvy7ECKUwwnKTYi036z42IyF056PbHfpQLIYgL",
    ROOT
    / "tests/vendor/bootstrap-reboot-5.3.9.min.css": "TsYzSbfM5048P21UgTyWiiTurFizZryHZKpEyXn2JQFAwo25RaEoNiuSJ26e6IPH",
}
VALUES = {"client_secret": "a secret of sixteen and more", "token_duration": "30", "roles": "MerchantUser"}


@pytest.fixture(scope="module")
def before(make_portal: MakePortal) -> Iterator[Portal]:
    """Return the running portal without the product."""
    with make_portal(with_product=False).serving() as portal:
        yield portal


def test_vendored_styles_are_as_published() -> None:
    """Named with their version, and equal to the recorded SHA-384 (C2)."""
    for path, digest in VENDORED.items():
        assert base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode() == digest
        assert re.search(r"-\d+\.\d+\.\d+\.", path.name)


def test_the_diff_removes_every_trace(tmp_path: Path) -> None:
    """Reversed, it leaves nothing of the product; the host's own code is longer than the added lines."""
    subprocess.run(["cp", "-r", EXAMPLE, tmp_path / "host"], check=True)
    subprocess.run(["git", "apply", "-R", DIFF.name], cwd=tmp_path / "host", check=True, env={"GIT_DIR": "/nowhere"})
    (tmp_path / "host" / DIFF.name).unlink()
    left = [path for path in (tmp_path / "host").rglob("*") if path.suffix in (".py", ".html", ".css", ".ini")]
    assert len(left) > 10
    for path in left:
        assert not re.search(r"identity.clients|\bic\b|ic_", path.read_text("utf-8")), path
    added = [line for line in DIFF.read_text().splitlines() if re.match(r"\+(?!\+\+)", line)]
    assert len(added) < 60


# The host's own pages and tables stay unchanged (E2)


def normalize(text: str) -> str:
    """Return a page without the values that differ in each response: nonce and CSRF token."""
    text = re.sub(r'nonce="[^"]+"', 'nonce=""', text)
    return re.sub(r'(name="csrf_token"[^>]*value=")[^"]+"', r'\1"', text)


def headers_of(answer: requests.Response) -> dict[str, str]:
    """Return the headers of a response without those that differ in each response."""
    varying = {"date", "content-length", "set-cookie"}
    found = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in varying}
    found["content-security-policy"] = re.sub(r"'nonce-[^']+'", "", found.get("content-security-policy", ""))
    return found


PATHS = ("/", "/payouts", "/payouts/P-1001", "/payouts/P-9999", "/enter", "/nowhere", "/status", "/static/quayside.css")


@pytest.mark.parametrize("email", [None, OWNER, CASHIER], ids=["signed out", "owner", "cashier"])
@pytest.mark.parametrize("path", PATHS)
def test_the_hosts_pages_are_byte_equal(portal: Portal, before: Portal, email: str | None, path: str) -> None:
    """Except for the lines that the host itself has added (E2)."""
    with_product, without = (site.browser(email).get(path) for site in (portal, before))
    added = "".join(line[1:] for line in DIFF.read_text().splitlines(keepends=True) if re.match(r"\+ |\+\.ic", line))
    (link,) = re.findall(r"^ +<li><a.*identity_clients.*\n", added, re.MULTILINE)
    shown = link.replace("{{ url_for('identity_clients.list') }}", LIST)
    (theme,) = re.findall(r"^\.ic .*\n", added, re.MULTILINE)
    assert normalize(with_product.text).replace(shown, "").replace(theme, "") == normalize(without.text)
    assert with_product.status_code == without.status_code
    skipped = {"etag", "last-modified"} if path.startswith("/static") else set()
    left, right = (
        {k: v for k, v in headers_of(answer).items() if k not in skipped} for answer in (with_product, without)
    )
    assert left == right
    assert ("set-cookie" in with_product.headers) == ("set-cookie" in without.headers)


def test_the_hosts_posts_work_as_before(portal: Portal, before: Portal) -> None:
    """Its CSRF layer, its refusals and its successes (E2)."""
    for site in (portal, before):
        browser, payout = site.browser(OWNER), {"reference": "P-2000", "beneficiary": "Ice", "amount": "12.50"}
        assert browser.session.post(f"{site.url}/payouts", data=payout).status_code == 400
        assert browser.post("/payouts", payout).status_code == 303
        assert "£12.50" in browser.get("/payouts/P-2000").text
        assert site.browser(INTEGRATOR).post("/payouts", payout).status_code == 403


def test_no_table_command_or_endpoint_of_the_host_changes(portal: Portal, before: Portal) -> None:
    """Ours are added, under names with one prefix (E2)."""
    script = """
from webapp import create_app
from webapp.models import db
from sqlalchemy import inspect
app = create_app()
with app.app_context():
    for kind, names in {
        "table": inspect(db.engine).get_table_names(),
        "model": db.metadata.tables,
        "command": app.cli.commands,
        "rule": [f"{rule.endpoint} {rule.rule}" for rule in app.url_map.iter_rules()],
        "config": app.config,
    }.items():
        for name in names:
            print(kind, name)
"""
    with_product, without = (set(site.run("-c", script).splitlines()) for site in (portal, before))
    assert without <= with_product
    for line in with_product - without:
        assert re.match(r"(table|config|command|rule) (identity[_-]client|IDENTITY_CLIENTS_)", line), line
    assert not [line for line in with_product - without if line.startswith("model")]


# The host's Alembic, in the same database


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_hosts_autogenerate_proposes_nothing(make_portal: MakePortal, database: str) -> None:
    """With the lines of the guide; without them it would drop our tables."""
    portal = make_portal(database=database)
    assert "No new upgrade operations detected" in portal.run("-m", "alembic", "check")
    file = portal.directory / "migrations" / "env.py"
    file.write_text(file.read_text().replace(", include_object=include_object", ""))
    portal.run("-m", "alembic", "check", code=255)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_two_migration_histories_are_independent(make_portal: MakePortal, database: str) -> None:
    """Either can be upgraded and downgraded alone."""
    portal = make_portal(database=database)
    portal.run("-m", "alembic", "downgrade", "base")
    assert "up to date" in portal.flask("identity-clients", "upgrade")
    portal.run("-m", "alembic", "upgrade", "head")
    portal.flask("seed", PASSWORD)
    with portal.serving():
        assert portal.browser(OWNER).get().status_code == 200


# Access by the host's own roles


@pytest.mark.parametrize(
    ("email", "status", "words"),
    [
        (OWNER, 200, "New Client"),
        (INTEGRATOR, 200, "New Client"),
        (CASHIER, 403, "Manage Identity Clients"),
        (BASIC_OWNER, 403, "Lowland Bikes"),
        (OTHER_OWNER, 200, "New Client"),
    ],
)
def test_access_by_the_hosts_roles_and_plans(portal: Portal, email: str, status: int, words: str) -> None:
    """As its actor loader maps them, always within the host's layout (E3, A2)."""
    page = portal.browser(email).get()
    assert page.status_code == status
    assert words in page.text
    assert "Quayside Payments, 1 Quay Street" in page.text
    assert "<strong>Quayside</strong> <small>merchant portal</small>" in page.text


def test_signed_out_people_are_redirected_to_the_hosts_sign_in_and_back(portal: Portal) -> None:
    """The page is Flask-Login's `login_view` (W11)."""
    browser = portal.browser(None)
    answer = browser.get(f"{LIST}?q=a", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        f"/enter?next={LIST.replace('/', '%2F')}%3Fq%3Da",
    )
    entered = browser.sign_in(OWNER, answer.headers["Location"])
    assert entered.headers["Location"] == f"{LIST}?q=a"


def test_an_account_sees_its_own_clients_only(portal: Portal) -> None:
    """The host's merchant is the account (A3, E3)."""
    owner, other = portal.browser(OWNER), portal.browser(OTHER_OWNER)
    page = owner.get(f"{LIST}/new").text
    key = re.search(r'name="creation_key"[^>]*value="([^"]+)"', page)
    assert key
    made = owner.post(f"{LIST}/new", {**VALUES, "client_id": "tidewater-one", "creation_key": key[1]})
    assert made.status_code == 200
    assert "tidewater-one" in portal.browser(INTEGRATOR).get().text
    assert "tidewater-one" not in other.get().text
    url = re.search(rf'href="({LIST}/[0-9a-f-]{{36}})"', owner.get().text)
    assert url
    assert owner.get(url[1]).status_code == 200
    assert other.get(url[1]).status_code == 404


def test_a_fragment_has_no_layout(portal: Portal) -> None:
    """The host's layout is never loaded into a dialog (W12, W13)."""
    htmx = {"HX-Request": "true", "HX-Request-Type": "partial"}
    browser = portal.browser(OWNER)
    for path in (f"{LIST}/new", f"{LIST}/nonsense"):
        answer = browser.get(path, headers=htmx)
        assert "Quayside Payments" not in answer.text
        assert "<html" not in answer.text


def test_the_endpoint_within_the_host(make_portal: MakePortal) -> None:
    """A client created in the portal gets a token from it, despite its CSRF layer; the log holds no secret (L4)."""
    with make_portal(development="true", issuer="http://127.0.0.1").serving() as portal:
        owner = portal.browser(OWNER)
        key = re.search(r'name="creation_key"[^>]*value="([^"]+)"', owner.get(f"{LIST}/new").text)
        assert key
        form = {**VALUES, "client_id": "tidewater-two", "creation_key": key[1]}
        assert owner.post(f"{LIST}/new", form).status_code == 200
        credentials = {"client_id": "tidewater-two", "client_secret": VALUES["client_secret"]}
        url = f"{portal.url}/connect/token"
        token = requests.post(url, data={"grant_type": "client_credentials", **credentials}, timeout=10)
        assert token.status_code == 200, token.text
        assert token.json()["expires_in"] == 30 * 60
        assert requests.get(f"{portal.url}/.well-known/jwks.json", timeout=10).json()["keys"]
        assert VALUES["client_secret"] not in portal.log
