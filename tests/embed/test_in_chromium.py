"""The example host in Chromium: neither stylesheet affects the other, wherever the product is mounted."""

import contextlib
import http.client
import re
import shutil
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.support.pages import ClientList, NewClient
from tests.support.portal import EXAMPLE, LIST, OWNER, PASSWORD, MakePortal, Portal
from tests.support.servers import ROOT, free_port

PICO = (EXAMPLE / "webapp/static/pico-2.1.1.classless.min.css").read_text("utf-8")
REBOOT = (ROOT / "tests/vendor/bootstrap-reboot-5.3.9.min.css").read_text("utf-8")
BOOTSTRAP_3 = (ROOT / "tests/vendor/bootstrap-3.4.1.min.css").read_text("utf-8")
STRONG_RULES = """
html { font-size: 16px }
body { font: italic 900 22px/2 Georgia, serif; letter-spacing: .1em; word-spacing: 1em; text-align: center; color: red;
  text-transform: uppercase; text-indent: 3em; text-shadow: 1px 1px red; white-space: nowrap; cursor: crosshair }
h1, h2, h3, p, ul, ol, dl, dd, label, legend, summary { margin: 2em; color: purple; font-family: fantasy; float: left }
a { color: orange; border-bottom: 3px dotted; transition: all 2s; display: inline-block }
a:hover, a:focus { background: yellow }
button, [type=button], .button { border-radius: 0; font-size: 30px; box-shadow: 5px 5px blue; min-width: 20em }
input, select, textarea { height: 5em; border: 9px solid; width: auto; appearance: none; margin: 1em }
input[type=checkbox], input[type=radio] { width: 4em; position: absolute; opacity: .2 }
input:not([type=checkbox]):not([type=radio]):not([type=range]) { padding: 2em; outline: 4px solid green }
table, th, td { border: 3px double #bda; padding: 14px; background: #eee; display: block }
tr:nth-child(even) td { background: lime }
svg { display: block; vertical-align: middle; width: 100px; fill: red }
code, pre { background: black; color: lime; font-size: 3em }
form { background: silver; padding: 3em; display: flex }
fieldset { border: 4px solid; margin: 3em }
section, nav, header, footer { padding: 4em; background: beige }
dialog { padding: 5em; border: 9px solid }
dialog::backdrop { background: red; opacity: .3 }
details { border: 2px solid } hr { margin: 4em } small { font-size: 40px }
*, *::before, *::after { box-sizing: content-box } ::before { content: "x" }
[role] { zoom: 1.5 } [aria-invalid] { color: red }
"""
SHEETS = {
    "pico": PICO + ":root { --pico-font-size: 100% }",
    "bootstrap": REBOOT,
    "bootstrap 3": BOOTSTRAP_3,
    "rude": STRONG_RULES,
}


def sign_in(context: BrowserContext, base: str) -> None:
    """Sign the owner in on the host's own page."""
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', context.request.get(f"{base}/enter").text())
    assert token
    form = {"csrf_token": token[1], "mail": OWNER, "password": PASSWORD}
    assert context.request.post(f"{base}/enter", form=dict(form), max_redirects=0).status == 303


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a signed-in browser; no page may fail or violate its policy."""
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_(base: str, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        context.on(
            "console",
            lambda message: faults.append(message.text) if "Content Security Policy" in message.text else None,
        )
        sign_in(context, base)
        return context.new_page()

    yield open_
    for context in contexts:
        context.close()
    assert faults == []


def create(page: Page, client_id: str) -> ClientList:
    """Create a client by the dialog, from the list that the tab shows."""
    form = ClientList(page).new()
    form.fill(client_id=client_id, name="Made within the host").choose({"MerchantUser"})
    return form.create().done(ClientList)


# Neither stylesheet affects the other

# Every computed value of an element and its parts, for all elements within `#ic` or all outside. The values of each are
# one string: Playwright takes seconds for a hundred thousand short ones.
SNAPSHOT = """inside => {
  const ic = document.getElementById('ic'), names = [...getComputedStyle(ic)].filter(name => !name.startsWith('--'));
  if (!inside) ic.style.display = 'none';
  else Object.assign(ic.style, {position: 'absolute', inset: '0 auto auto 0', width: '900px'});
  const all = [...document.querySelectorAll('*')].filter(e => ic.contains(e) === inside && !e.matches('svg *'));
  const parts = e => ['', '::before', '::after', ...(e.matches('dialog') ? ['::backdrop'] : []),
    ...(e.matches('input, textarea') ? ['::placeholder'] : [])];
  return [names, all.flatMap(e => parts(e).map(part => {
    const style = getComputedStyle(e, part || null);
    const values = names.map(name => style.getPropertyValue(name)).join('\\x1f');
    return [`${e.tagName} ${e.id} ${e.getAttribute('class')}${part}`, values];
  }))];
}"""
SWITCH = """([ours, on]) => { for (const sheet of document.styleSheets)
  if (sheet.href.includes('app.css') === ours) sheet.disabled = !on; }"""
# Properties that `.ic` inherits on purpose, or that have no effect in it.
INHERITED = {
    *("box-sizing", "color-scheme", "tab-size", "text-rendering", "text-size-adjust", "text-underline-offset"),
    *("-webkit-tap-highlight-color", "background-repeat", "background-position", "background-size"),
}


def differences(left: list[Any], right: list[Any]) -> list[tuple[str, str, str, str]]:
    """Return element, property and both values wherever two snapshots differ."""
    (names, one), (others, other) = left, right
    assert names == others
    assert [name for name, _ in one] == [name for name, _ in other]
    return [
        (element, name, mine, its)
        for (element, values), (_, others) in zip(one, other, strict=True)
        if values != others
        for name, mine, its in zip(names, values.split("\x1f"), others.split("\x1f"), strict=True)
        if mine != its and name not in INHERITED
    ]


def use_stylesheet(page: Page, sheet: str) -> None:
    """Make the portal use another stylesheet."""

    def answer(route: Route) -> None:
        route.fulfill(body=sheet if "pico" in route.request.url else "", content_type="text/css")

    page.context.route(re.compile(r"/static/(pico|quayside).*\.css"), answer)


def show_dialog(page: Page) -> None:
    ClientList(page).new()


def show_errors(page: Page) -> None:
    NewClient(page).fill(client_id="x").create_with_errors()


def show_menu(page: Page) -> None:
    ClientList(page).menu("tidewater-style")


SCREENS: dict[str, tuple[str, Callable[[Page], None] | None]] = {
    "list": ("", None),
    "menu": ("", show_menu),
    "dialog": ("", show_dialog),
    "errors": ("/new", show_errors),
    "no match": ("?q=nothing-like-this", None),
    "no such page": ("/nonsense", None),
}


@pytest.fixture
def styled(portal: Portal, open_tab: Callable[..., Page]) -> Page:
    """Return a tab of the portal whose merchant has a client."""
    page = open_tab(portal.url)
    page.goto(portal.url + LIST)
    if "tidewater-style" not in page.content():
        create(page, "tidewater-style")
    return page


@pytest.mark.parametrize("sheet", SHEETS)
@pytest.mark.parametrize("screen", SCREENS)
def test_no_rule_of_the_host_affects_our_elements(styled: Page, portal: Portal, screen: str, sheet: str) -> None:
    """All computed values of our elements are equal with and without the host's stylesheet."""
    path, act = SCREENS[screen]
    use_stylesheet(styled, SHEETS[sheet])
    styled.goto(portal.url + LIST + path)
    if act:
        act(styled)
    styled.mouse.move(1270, 890)
    with_host = styled.evaluate(SNAPSHOT, True)
    styled.evaluate(SWITCH, [False, False])
    found = differences(styled.evaluate(SNAPSHOT, True), with_host)
    if sheet == "pico":  # has `!important` paddings for an invalid field, with space for its icon
        found = [line for line in found if not re.match("padding-(left|right|inline)", line[1])]
    assert found[:20] == []


@pytest.mark.parametrize("sheet", SHEETS)
def test_no_rule_of_ours_affects_the_hosts_elements(styled: Page, portal: Portal, sheet: str) -> None:
    """All computed values of the host's elements are equal with and without our stylesheet."""
    use_stylesheet(styled, SHEETS[sheet])
    styled.goto(portal.url + LIST)
    with_product = styled.evaluate(SNAPSHOT, False)
    styled.evaluate(SWITCH, [True, False])
    assert differences(styled.evaluate(SNAPSHOT, False), with_product)[:20] == []


# Theming

THEME = ROOT / "static/identity_clients/css/theme.css"
TOKENS = sorted(set(re.findall(r"--ic-[a-z-]+(?=:)", THEME.read_text("utf-8"))))


def test_a_host_sets_the_custom_properties(styled: Page, portal: Portal) -> None:
    """Each in a plain rule before our stylesheet; the portal sets its accent so."""
    styled.goto(portal.url + LIST)
    go = styled.locator(".ic-go").first
    expect(go).to_have_css("background-color", "rgb(15, 118, 110)")
    expect(go).to_have_css("border-radius", "10px")
    rule = "".join(f"{token}: value-of-{token};" for token in TOKENS)
    styled.context.route(
        "**/quayside.css", lambda route: route.fulfill(body=f".ic {{ {rule} }}", content_type="text/css")
    )
    styled.goto(portal.url + LIST)
    shown = styled.locator("#ic").evaluate(
        "(e, names) => names.map(name => getComputedStyle(e).getPropertyValue(name))", TOKENS
    )
    assert shown == [f"value-of-{token}" for token in TOKENS]
    assert len(TOKENS) > 15


def test_the_host_decides_light_or_dark(styled: Page, portal: Portal) -> None:
    """By `color-scheme`."""
    for scheme, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(16, 24, 29)")):
        use_stylesheet(styled, f":root {{ color-scheme: {scheme} }}")
        styled.goto(portal.url + LIST)
        expect(styled.locator("#ic")).to_have_css("background-color", colour)


# Mounted at another path


@contextlib.contextmanager
def reverse_proxy(to_port: int, prefix: str) -> Iterator[str]:
    """Serve an application below a sub-path, as nginx does for one at the root of another port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = http.client.HTTPConnection("127.0.0.1", to_port, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            headers |= {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "X-Forwarded-Prefix": prefix}
            path = self.path.removeprefix(prefix)
            well_known = f"/.well-known/oauth-authorization-server{prefix}"
            if self.path == well_known:
                path = "/.well-known/oauth-authorization-server"
            elif not self.path.startswith(f"{prefix}/"):
                self.send_error(404)
                return
            connection.request(self.command, path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_GET = do_POST = forward  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def go_through(page: Page, base: str, client_id: str) -> None:
    """Create, search, edit and disable a client by dialog and menu, and return to the list."""
    page.goto(base)
    screen = create(page, client_id)
    expect(screen.row(client_id)).to_be_visible()
    screen.search.fill(client_id)
    expect(page).to_have_url(re.compile(rf"^{re.escape(base)}\?q={client_id}"))
    edit = screen.menu(client_id).edit()
    edit.fill(name="Changed within the host")
    edit.save(ClientList)
    expect(screen.row(client_id)).to_contain_text("Changed within the host")
    screen.menu(client_id).disable().confirm(ClientList)
    expect(screen.row(client_id)).to_contain_text("Disabled")
    details = screen.view(client_id)
    expect(details.heading).to_have_text(client_id)
    assert page.url.startswith(base)
    page.go_back()
    expect(ClientList(page).search).to_have_value(client_id)
    assert page.evaluate("document.documentElement.dataset.awake") == "yes"  # the host's own script, by its nonce


def test_the_screens_within_the_host(portal: Portal, open_tab: Callable[..., Page]) -> None:
    """Under its policy with a nonce, within its layout."""
    page = open_tab(portal.url)
    go_through(page, portal.url + LIST, "tidewater-here")
    expect(page.get_by_role("navigation").get_by_role("link", name="Payouts")).to_be_visible()
    expect(page).to_have_title(re.compile(r" - Quayside$"))


def test_typed_values_are_kept_when_the_hosts_csrf_layer_refuses_a_dialog(
    portal: Portal, open_tab: Callable[..., Page]
) -> None:
    """After signing in again in another tab the form is sent once more, with the typed secret (W10, E1)."""
    page = open_tab(portal.url)
    page.goto(portal.url + LIST)
    form = ClientList(page).new()
    form.fill(client_id="tidewater-late", client_secret="typed by a person, twice").choose({"MerchantUser"})
    sign_in(page.context, portal.url)
    form.create_with_errors()
    expect(form.root).to_contain_text("press Create again")
    expect(form.secret).to_have_value("typed by a person, twice")
    assert form.create().secret == "typed by a person, twice"


def test_another_prefix_and_another_blueprint_name(make_portal: MakePortal, open_tab: Callable[..., Page]) -> None:
    """The portal's own link follows the name."""
    site = make_portal(url_prefix="/settings/api-clients", blueprint_name="api_clients")
    frame = site.directory / "webapp/templates/base.html"
    frame.write_text(frame.read_text().replace("identity_clients.list", "api_clients.list"))
    with site.serving():
        page = open_tab(site.url)
        page.goto(site.url)
        page.get_by_role("link", name="Identity Clients").click()
        go_through(page, f"{site.url}/settings/api-clients", "tidewater-renamed")


def test_below_a_sub_path_behind_a_proxy(make_portal: MakePortal, open_tab: Callable[..., Page]) -> None:
    """Links, sign-in, assets and metadata use SCRIPT_NAME, and the audit log has the caller's address (T14, C5)."""
    prefix, port = "/portal", free_port()
    site = make_portal(development="true", issuer=f"http://127.0.0.1:{port}{prefix}")
    with site.serving(QUAYSIDE_PROXIES="1"), reverse_proxy(int(site.url.rpartition(":")[2]), prefix) as base:
        page = open_tab(base)
        go_through(page, base + LIST, "tidewater-below")
        root = base.removesuffix(prefix)
        answer = page.request.get(f"{root}/.well-known/oauth-authorization-server{prefix}")
        assert answer.json()["token_endpoint"] == f"http://127.0.0.1:{port}{prefix}/connect/token"
        wrong = {"grant_type": "client_credentials", "client_id": "tidewater-below", "client_secret": "wrong-secret"}
        assert page.request.post(f"{base}/connect/token", form=dict(wrong)).status == 401
        signed_out = page.context.browser.new_page()  # type: ignore[union-attr]
        signed_out.goto(f"{base}{LIST}?q=tide")
        expect(signed_out).to_have_url(re.compile(rf"^{re.escape(base)}/enter\?next="))
        signed_out.get_by_label("E-mail").fill(OWNER)
        signed_out.get_by_label("Password").fill(PASSWORD)
        signed_out.get_by_role("button", name="Enter").click()
        expect(signed_out).to_have_url(f"{base}{LIST}?q=tide")
        signed_out.close()
    script = "import sqlite3; print(*sqlite3.connect('quayside.sqlite3').execute(input()))"
    assert "203.0.113.9" in site.run("-c", script, stdin="SELECT address FROM identity_client_events")


def test_a_host_that_loads_htmx_itself(make_portal: MakePortal, open_tab: Callable[..., Page]) -> None:
    """It is loaded once; dialogs, search and Back work under the host's own configuration."""
    site = make_portal(host_loads_htmx="true")
    (vendored,) = (ROOT / "static/identity_clients/vendor").glob("htmx-4*.js")
    shutil.copyfile(vendored, site.directory / "webapp/static/htmx.js")
    frame = site.directory / "webapp/templates/base.html"
    script = "<script src=\"{{ url_for('static', filename='htmx.js') }}\" defer></script>\n  {% block head %}"
    frame.write_text(frame.read_text().replace("{% block head %}", script))
    with site.serving():
        page = open_tab(site.url)
        go_through(page, site.url + LIST, "tidewater-htmx")
        page.goto(site.url + LIST)
        loaded = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert len([name for name in loaded if "htmx" in name]) == 1
        assert page.locator("meta[name=htmx-config]").count() == 0
