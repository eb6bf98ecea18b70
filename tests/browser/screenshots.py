"""Take the README's images of the running application: `python -m tests.browser.screenshots FOLDER`."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.support import servers
from tests.support.browser import CHROMIUM_ARGUMENTS, chromium
from tests.support.pages import ClientList, Home, SignIn
from webapp.standalone.demo import USERS

ROLES = ("MerchantUser", "CreatePayment")


def main() -> None:
    """Start the application and take the images."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        servers.serve(Path(directory)) as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS) as browser,
        browser.new_context(base_url=server.url, viewport={"width": 1280, "height": 800}) as context,
    ):
        page = context.new_page()
        take(page, server.password, folder)


def take(page: Page, password: str, folder: Path) -> None:
    """Sign in, and take images of the list and of New Client."""
    SignIn.open(page).sign_in(USERS[0].email, password, then=Home)
    clients = ClientList.open(page)
    page.screenshot(path=folder / "list.png")
    form = clients.new()
    form.fill(client_id="northwind-fnol-intake", name="First notice of loss", token_duration="20")
    form.fill(description="Pays emergency repairs as soon as a claim is reported. Owner: claims-platform")
    form.choose(ROLES).field("client_id").focus()
    page.screenshot(path=folder / "new.png", animations="disabled")


if __name__ == "__main__":
    main()
