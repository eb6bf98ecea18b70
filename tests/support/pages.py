"""Page objects of the screens. Each action returns the screen that follows.

They work with and without JavaScript, since a form has the same labels in a dialog and on a page.
"""

import re
from collections.abc import Collection
from typing import Self, TypeVar

from playwright.sync_api import Locator, Page, expect

PREFIX = "/administration/identity-clients"


class Screen:
    """A screen; creating the object waits until it is shown.

    :param page: the tab.
    """

    ROOT = "#ic .ic-page"

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(self.ROOT)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the screen is visible and its script, if any, has started."""
        expect(self.root).to_be_visible()
        if self.page.evaluate(_IS_SCRIPTED):
            expect(self.page.locator("[data-htmx-powered]").first).to_be_attached()

    def expect_message(self, words: str | re.Pattern[str]) -> None:
        """Wait for a text in the live region, or in the page's notice without JavaScript."""
        expect(self.page.get_by_role("status").filter(has_text=words)).to_have_count(1)


_IS_SCRIPTED = "!!document.querySelector('[hx-get],[hx-post]') && !matchMedia('(scripting: none)').matches"

AnyScreen = TypeVar("AnyScreen", bound=Screen)


class SignIn(Screen):
    """The sign-in page."""

    ROOT = "main:has(#si-e)"

    @classmethod
    def open(cls, page: Page) -> Self:
        """Open the page."""
        page.goto("/login")
        return cls(page)

    def sign_in(self, email: str, password: str, then: type[AnyScreen]) -> AnyScreen:
        """Sign in."""
        self.root.get_by_label("E-mail address").fill(email)
        self.root.get_by_label("Password", exact=True).fill(password)
        self.root.get_by_role("button", name="Sign in").click()
        return then(self.page)


class Home(Screen):
    """The start page."""

    ROOT = "main:has(h1:text('Welcome'))"


class ClientList(Screen):
    """The list."""

    ROOT = "#ic .ic-page:has(h1:text-is('Identity Clients'))"

    @classmethod
    def open(cls, page: Page, query: str = "") -> Self:
        """Open the page."""
        page.goto(PREFIX + query)
        return cls(page)

    @property
    def client_ids(self) -> Locator:
        """The client IDs of the rows, in their order."""
        return self.root.locator("tbody th a")

    @property
    def attention_strip(self) -> Locator:
        """The strip of clients that need attention."""
        return self.root.get_by_role("region", name="Needs attention")

    @property
    def search(self) -> Locator:
        """The search field."""
        return self.root.get_by_label("Search by client ID, name, description, owner or tag")

    def row(self, client_id: str) -> Locator:
        """Return the row of a client."""
        return self.root.get_by_role("row").filter(has=self.page.get_by_role("link", name=client_id, exact=True))

    def activity(self) -> "Activity":
        """Open the audit log of the account."""
        self.root.get_by_role("link", name="Activity", exact=True).click()
        return Activity(self.page)

    def notifications(self) -> "Notifications":
        """Open the notifications of the account."""
        self.root.get_by_role("link", name="Notifications", exact=True).click()
        return Notifications(self.page)

    def new(self) -> "NewClient":
        """Open New Client."""
        self.root.get_by_role("link", name="New Client").first.click()
        return NewClient(self.page)

    def menu(self, client_id: str) -> "Menu":
        """Open the action menu of a client."""
        self.root.get_by_role("link", name=f"Actions for {client_id}", exact=True).click()
        return Menu(self.page)

    def view(self, client_id: str) -> "Details":
        """Open the page of a client."""
        self.root.get_by_role("link", name=client_id, exact=True).click()
        return Details(self.page)


class Menu(Screen):
    """The action menu: a popover, or a page of links without JavaScript."""

    ROOT = ".ic-menu:popover-open, nav[aria-label=Actions]"

    @property
    def actions(self) -> Locator:
        """The links."""
        return self.root.get_by_role("link")

    def _press(self, verb: str) -> None:
        self.root.get_by_role("link", name=re.compile(rf"^{verb}\b")).click()

    def view(self) -> "Details":
        """Open the page of the client."""
        self._press("View")
        return Details(self.page)

    def edit(self) -> "EditClient":
        """Open Edit."""
        self._press("Edit")
        return EditClient(self.page)

    def disable(self) -> "Confirmation":
        """Open the confirmation of Disable."""
        self._press("Disable")
        return Confirmation(self.page)

    def enable(self, then: type[AnyScreen]) -> AnyScreen:
        """Enable the client, which needs no confirmation."""
        self.root.get_by_role("button", name=re.compile(r"^Enable\b")).click()
        return then(self.page)

    def change_secret(self) -> "ChangeSecret":
        """Open Change secret."""
        self._press("Change secret")
        return ChangeSecret(self.page)

    def leaked(self) -> "Confirmation":
        """Open the confirmation of Replace leaked secret."""
        self._press("Replace leaked secret")
        return Confirmation(self.page)

    def revoke_tokens(self) -> "Confirmation":
        """Open the confirmation of Revoke tokens."""
        self._press("Revoke tokens")
        return Confirmation(self.page)

    def delete(self) -> "Confirmation":
        """Open the confirmation of Delete."""
        self._press("Delete")
        return Confirmation(self.page)

    def copy(self) -> "NewClient":
        """Press a copy button; return the content of the clipboard."""
        self._press("Duplicate")
        return NewClient(self.page)


class Details(Screen):
    """The page of one client."""

    ROOT = (
        "#ic .ic-page:has(#ic-details, #ic-networks)"  # without JavaScript an address is checked on a page of its own
    )

    @classmethod
    def open(cls, page: Page, key: object) -> Self:
        """Open the page."""
        page.goto(f"{PREFIX}/{key}")
        return cls(page)

    @property
    def heading(self) -> Locator:
        """The client ID on top."""
        return self.root.get_by_role("heading", level=1)

    def configuration_value(self, term: str) -> Locator:
        """Return the value of a term of the configuration."""
        return self.root.locator(f"dt:text-is('{term}') + dd")

    def section(self, heading: str) -> Locator:
        """Return a section by its heading."""
        return self.root.get_by_role("region", name=heading, exact=True)

    @property
    def address(self) -> Locator:
        """The field in which an address is checked or added."""
        return self.root.get_by_label("Check or add an address")

    def check_address(self, address: str, words: str) -> Self:
        """Check an address, and wait for the result."""
        self.address.fill(address)
        self.root.get_by_role("button", name="Check", exact=True).click()
        expect(self.root.locator("#ic-address-result")).to_contain_text(words)
        return self

    def add_address(self, address: str) -> "Networks":
        """Open the list with the address added."""
        self.address.fill(address)
        self.root.get_by_role("button", name="Add", exact=True).click()
        return Networks(self.page)

    def remove_network(self, network: str) -> "Networks":
        """Open the list without the network."""
        self.root.get_by_role("link", name=f"Remove {network}").click()
        return Networks(self.page)

    @property
    def activity(self) -> Locator:
        """The latest events, the newest first."""
        return self.root.get_by_role("region", name="Activity").locator(".ic-time > li")

    def edit(self) -> "EditClient":
        """Open Edit."""
        self.root.get_by_role("link", name="Edit", exact=True).click()
        return EditClient(self.page)

    def change_secret(self) -> "ChangeSecret":
        """Open Change secret."""
        self.root.get_by_role("link", name="Change secret", exact=True).click()
        return ChangeSecret(self.page)

    def test(self) -> "TokenTrial":
        """Open Test now."""
        self.root.get_by_role("link", name="Test now").click()
        return TokenTrial(self.page)

    def more(self) -> "Menu":
        """Open the menu of further actions."""
        self.root.get_by_role("button", name="More actions").click()
        return Menu(self.page)

    def secret(self, label: str) -> Locator:
        """Return the row of a secret."""
        return self.root.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=f"Secret {label}"))

    def open_secret_action(self, label: str, verb: str) -> "Confirmation":
        """Open an action of a secret; a locked one can be opened as well, and shows the reason."""
        self.secret(label).get_by_role("link", name=verb).press("Enter")
        return Confirmation(self.page)


class Activity(Screen):
    """The audit log of the account or of one client."""

    ROOT = "#ic .ic-page:has(#ic-results):has(#ic-action)"

    @classmethod
    def open(cls, page: Page, of: str = "", query: str = "") -> Self:
        """Open the page.

        :param of: a client's key and a slash; empty for the account.
        """
        page.goto(f"{PREFIX}/{of}activity{query}")
        return cls(page)

    @property
    def events(self) -> Locator:
        """The events, the newest first."""
        return self.root.locator(".ic-time > li")

    def filter(self, label: str) -> Locator:
        """Return a field of the filters."""
        return self.root.get_by_role("search").get_by_label(label, exact=True)


class RequestLog(Screen):
    """The request log of the account or of one client."""

    ROOT = "#ic .ic-page:has(#ic-results):has(#ic-outcome)"

    @classmethod
    def open(cls, page: Page, of: str = "", query: str = "") -> Self:
        """Open the page.

        :param of: a client's key and a slash; empty for the account.
        """
        page.goto(f"{PREFIX}/{of}requests{query}")
        return cls(page)

    @property
    def rows(self) -> Locator:
        """The requests, the newest first."""
        return self.root.locator("tbody tr")

    def filter(self, label: str) -> Locator:
        """Return a field of the filters."""
        return self.root.get_by_role("search").get_by_label(label, exact=True)

    def open_request(self, result: str) -> Locator:
        """Open the newest request with a result; return its dialog, or without JavaScript its page."""
        self.rows.filter(has_text=result).first.get_by_role("rowheader").get_by_role("link").click()
        opened = self.page.locator("#ic-dialog dialog, .ic-page:has(h1:text('Token request of'))").last
        expect(opened).to_be_visible()
        return opened


class ClientForm(Screen):
    """The fields that New Client and Edit share."""

    ROOT = "#ic-form"

    def field(self, name: str) -> Locator:
        """Return a field by the name under which it is posted."""
        return self.root.locator(f"#f-{name}")

    @property
    def secret(self) -> Locator:
        """The field of the secret."""
        return self.field("client_secret")

    @property
    def chosen_roles(self) -> list[str]:
        """The keys of the selected roles."""
        ticked = self.root.locator("[name=roles]:checked")
        return [str(box.get_attribute("value")) for box in ticked.all()]

    def fill(self, **values: str) -> Self:
        """Fill in fields."""
        for name, value in values.items():
            self.field(name).fill(value)
        return self

    def choose(self, keys: Collection[str]) -> Self:
        """Select these roles and no others."""
        for box in self.root.get_by_role("group", name="Roles").get_by_role("checkbox").all():
            box.set_checked(box.get_attribute("value") in keys)
        return self

    def press(self, label: str) -> None:
        """Press a button."""
        self.root.get_by_role("button", name=label, exact=True).click()

    def discard(self) -> None:
        """Close the dialog by Escape, and confirm that typed values are discarded."""
        self.page.keyboard.press("Escape")
        self.page.get_by_role("dialog", name="Discard what you typed?").get_by_role("button", name="Discard").click()

    def message(self, name: str) -> Locator:
        """Return the message element of a field."""
        return self.root.locator(f"#f-{name}-m")

    @property
    def summary(self) -> Locator:
        """The notice at the top: the errors, or the reason why nothing is saved yet."""
        return self.root.get_by_role("alert")


class NewClient(ClientForm):
    """New Client."""

    ROOT = "#ic-form:has(button:text-is('Create'))"

    def wait_until_ready(self) -> None:
        """Wait until the generated secret is there as well."""
        super().wait_until_ready()
        expect(self.secret).not_to_have_value("")

    @classmethod
    def open(cls, page: Page) -> Self:
        """Open the page."""
        page.goto(f"{PREFIX}/new")
        return cls(page)

    def create(self) -> "Handover":
        """Press Create."""
        self.press("Create")
        return Handover(self.page)

    def create_with_errors(self) -> Self:
        """Press Create, and expect the form again."""
        self.press("Create")
        expect(self.summary).to_be_visible()
        return self


class EditClient(ClientForm):
    """Edit."""

    ROOT = "#ic-form:has([name=base]):has(#f-name)"

    @classmethod
    def open(cls, page: Page, key: object) -> Self:
        """Open the page."""
        page.goto(f"{PREFIX}/{key}/edit")
        return cls(page)

    def save(self, then: type[AnyScreen]) -> AnyScreen:
        """Press Save; where it asks a question, press the button that saves all the same."""
        self.press("Save")
        expect(self.page.locator("#ic-form:has([name=base]):not(:has(#f-warnings))")).to_have_count(0)
        if self.root.locator("#f-warnings").count():
            self.root.locator("#f-go").click()
        expect(self.root).to_have_count(0)
        return then(self.page)

    def save_with_errors(self) -> Self:
        """Press Save, and expect the form again."""
        self.press("Save")
        expect(self.summary).to_be_visible()
        return self

    def save_stale(self) -> "Conflict":
        """Press Save after another person has saved."""
        self.press("Save")
        return Conflict(self.page)


class ChangeSecret(ClientForm):
    """Change secret."""

    ROOT = "#ic-form:has([name=revoke])"

    def wait_until_ready(self) -> None:
        """Wait until the generated secret is there as well."""
        super().wait_until_ready()
        expect(self.secret).not_to_have_value("")

    @classmethod
    def open(cls, page: Page, key: object) -> Self:
        """Open the page."""
        page.goto(f"{PREFIX}/{key}/secret")
        return cls(page)

    def choose_overlap(self, overlap: str) -> Self:
        """Choose when the old secret ends, by its label."""
        self.root.get_by_role("radio", name=overlap).check()
        return self

    def change(self) -> "Handover":
        """Press the button."""
        self.press("Change secret")
        return Handover(self.page)

    def change_with_errors(self) -> Self:
        """Press the button, and expect the form again."""
        self.press("Change secret")
        expect(self.summary).to_be_visible()
        return self


class Conflict(Screen):
    """Both values of each field that differs, and a choice between them."""

    ROOT = "#ic-form:has(button:text-is('Save my choices'))"

    def cell(self, field: str, whose: str) -> Locator:
        """Return the cell of one value.

        :param whose: `Yours` or `Theirs`.
        """
        line = self.root.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=field, exact=True))
        return line.locator(f"td[data-l={whose}]")

    def choose(self, field: str, whose: str) -> Self:
        """Choose one side of a line."""
        self.cell(field, whose).get_by_role("radio").check()
        return self

    def save(self, then: type[AnyScreen]) -> AnyScreen:
        """Save the choices."""
        self.root.get_by_role("button", name="Save my choices").click()
        expect(self.root).to_have_count(0)
        return then(self.page)


class Handover(Screen):
    """The only screen that shows a secret."""

    ROOT = "form.ic-lock"

    @property
    def client_id(self) -> str:
        """The client ID as it is shown."""
        return self.root.locator("#ic-handover-id").inner_text()

    @property
    def secret(self) -> str:
        """The secret as it is shown."""
        return self.root.locator("#ic-handover-secret").inner_text()

    @property
    def saved(self) -> Locator:
        """The check box that confirms that the secret is saved."""
        return self.root.get_by_role("checkbox", name="I have saved the secret")

    def copy(self, what: str) -> str:
        """Press the copy button of something, and return what the clipboard then holds."""
        button = self.root.locator(f"[data-what='{what}']")
        if not button.is_visible():
            self.root.locator("details", has=self.page.locator(f"[data-what='{what}']")).locator("summary").click()
        button.click()
        expect(button).to_contain_text("Copied")
        scratch_tab = self.page.context.new_page()  # the policy of our own pages forbids reading the clipboard
        scratch_tab.set_content("<textarea></textarea>")
        scratch_tab.locator("textarea").press("Control+V")
        expect(scratch_tab.locator("textarea")).not_to_have_value("")
        text = scratch_tab.locator("textarea").input_value()
        scratch_tab.close()
        return text

    def test(self, words: str) -> Self:
        """Press Test now, and wait for the answer, which a new tab shows without JavaScript."""
        button = self.root.get_by_role("button", name="Test now")
        if self.page.evaluate("matchMedia('(scripting: none)').matches"):
            with self.page.expect_popup() as popup:
                button.click()
            expect(popup.value.locator("#ic-test-answer")).to_contain_text(words)
            popup.value.close()
        else:
            button.click()
            expect(self.root.locator("#ic-test-answer")).to_contain_text(words)
        return self

    def done(self, then: type[AnyScreen]) -> AnyScreen:
        """Tick the box, and press Done."""
        self.saved.check()
        self.root.get_by_role("button", name="Done").click()
        expect(self.root).to_have_count(0)
        return then(self.page)


class TokenTrial(Screen):
    """The form that tests a secret."""

    ROOT = "#ic-form:has(#ic-test-answer)"

    def test(self, secret: str, words: str) -> Self:
        """Test a secret, and wait for the answer."""
        self.root.get_by_label("Client secret", exact=True).fill(secret)
        self.root.get_by_role("button", name="Test now").click()
        expect(self.root.locator("#ic-test-answer")).to_contain_text(words)
        return self


class Confirmation(Screen):
    """The confirmation of an action."""

    ROOT = "form[method=post]:has(a:text-is('Cancel'))"

    def confirm(self, then: type[AnyScreen], button: str = "") -> AnyScreen:
        """Confirm the action.

        :param button: the label of the button, where there are several.
        """
        self.press(button)
        expect(self.root).to_have_count(0)
        return then(self.page)

    def handover(self) -> Handover:
        """Return the handover that follows an action with a new secret."""
        return Handover(self.page)

    def confirm_with_errors(self) -> Self:
        """Confirm the action, and expect the confirmation again."""
        self.press()
        expect(self.root.get_by_role("alert")).to_be_visible()
        return self

    def press(self, button: str = "") -> None:
        """Press a button."""
        buttons = self.root.get_by_role("button", name=button, exact=True) if button else self.root.locator(".ic-go")
        buttons.click()


class Notifications(Screen):
    """The notifications of the account."""

    ROOT = "#ic .ic-page:has(h1:text-is('Notifications'))"

    @classmethod
    def open(cls, page: Page) -> Self:
        """Open the page."""
        page.goto(f"{PREFIX}/notifications")
        return cls(page)

    @property
    def addresses(self) -> Locator:
        """The table of addresses."""
        return self.root.get_by_role("table", name="Addresses")

    def add(self, label: str) -> "Target":
        """Open the form of a new address by the label of its link."""
        self.root.get_by_role("link", name=label).click()
        return Target(self.page)

    def press(self, verb: str) -> None:
        """Press the button or link of an address."""
        self.addresses.locator("a, button").filter(has_text=verb).click()


class Target(Screen):
    """The form of an address for notifications."""

    ROOT = "#ic-form:has([name=kinds])"

    def press(self) -> None:
        """Press the button that saves."""
        self.root.locator(".ic-go").click()

    def save_with_errors(self) -> Self:
        """Save, and expect the form again."""
        self.press()
        expect(self.root.get_by_role("alert")).to_be_visible()
        return self


class Networks(Screen):
    """The form of the allowed networks."""

    ROOT = "#ic-form:has(#f-allowed_networks)"

    @property
    def networks(self) -> Locator:
        """The fields of the addresses and ranges that are not removed."""
        return self.root.locator("input[id^=f-network-]")

    def press_in_row(self, verb: str, network: str = "") -> Self:
        """Press Add, or Remove or Undo of a network, and wait until the rows have changed."""
        before = self.networks.count()
        self.root.get_by_role("button").filter(has_text=re.compile(rf"^\s*{verb}\b")).filter(has_text=network).click()
        expect(self.networks).to_have_count(before - 1 if verb == "Remove" else before + 1)
        return self

    @property
    def alert(self) -> Locator:
        """The notices with errors and with consequences."""
        return self.root.get_by_role("alert")

    def save(self) -> Details:
        """Press Save."""
        self.root.get_by_role("button", name="Save", exact=True).click()
        expect(self.root).to_have_count(0)
        return Details(self.page)

    def save_with_errors(self) -> Self:
        """Press Save, and get the form back."""
        self.root.get_by_role("button", name="Save", exact=True).click()
        expect(self.alert.first).to_be_visible()
        return self
