"""The screens as a person meets them: what they show, and what can be done. An action returns the screen that follows.

They are the same with and without JavaScript: a form has the same labels in a dialog and on a page of its own.
"""

import re
from collections.abc import Collection
from typing import Self, TypeVar

from playwright.sync_api import Locator, Page, expect

PREFIX = "/administration/identity-clients"


class Screen:
    """A screen, which is there as soon as the object is.

    :param page: the tab.
    """

    ROOT = "#ic .ic-page"

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(self.ROOT)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the screen is there, and its script, if it has one, is at work."""
        expect(self.root).to_be_visible()
        if self.page.evaluate(_IS_SCRIPTED):
            expect(self.page.locator("[data-htmx-powered]").first).to_be_attached()

    def expect_message(self, words: str | re.Pattern[str]) -> None:
        """Wait until the live region, or without JavaScript the page's notice, says these words."""
        expect(self.page.get_by_role("status").filter(has_text=words)).to_have_count(1)


_IS_SCRIPTED = "!!document.querySelector('[hx-get],[hx-post]') && !matchMedia('(scripting: none)').matches"

AnyScreen = TypeVar("AnyScreen", bound=Screen)


class SignIn(Screen):
    """The sign-in page."""

    ROOT = "main:has(#si-e)"

    @classmethod
    def open(cls, page: Page) -> Self:
        """Go there."""
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
        """Go there."""
        page.goto(PREFIX + query)
        return cls(page)

    @property
    def client_ids(self) -> Locator:
        """The client IDs of the rows, in their order."""
        return self.root.locator("tbody th a")

    @property
    def strip(self) -> Locator:
        """The strip that says what needs attention."""
        return self.root.get_by_role("region", name="Needs attention")

    @property
    def search(self) -> Locator:
        """The field to search in."""
        return self.root.get_by_label("Search by client ID, name, description, owner or tag")

    def row(self, client_id: str) -> Locator:
        """Return the row of a client."""
        return self.root.get_by_role("row").filter(has=self.page.get_by_role("link", name=client_id, exact=True))

    def activity(self) -> "Activity":
        """Open the trail of the account."""
        self.root.get_by_role("link", name="Activity", exact=True).click()
        return Activity(self.page)

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
        """Ask to disable the client."""
        self._press("Disable")
        return Confirmation(self.page)

    def enable(self, then: type[AnyScreen]) -> AnyScreen:
        """Enable the client, which needs no question."""
        self.root.get_by_role("button", name=re.compile(r"^Enable\b")).click()
        return then(self.page)

    def change_secret(self) -> "ChangeSecret":
        """Open Change secret."""
        self._press("Change secret")
        return ChangeSecret(self.page)

    def leaked(self) -> "Confirmation":
        """Ask to replace a leaked secret."""
        self._press("Leaked secret")
        return Confirmation(self.page)

    def revoke_tokens(self) -> "Confirmation":
        """Ask to revoke the client's tokens."""
        self._press("Revoke tokens")
        return Confirmation(self.page)

    def delete(self) -> "Confirmation":
        """Ask to delete the client."""
        self._press("Delete")
        return Confirmation(self.page)

    def copy(self) -> "NewClient":
        """Open New Client with the values of this one."""
        self._press("Copy")
        return NewClient(self.page)


class Details(Screen):
    """The page of one client."""

    ROOT = (
        "#ic .ic-page:has(#ic-details, #ic-networks)"  # without JavaScript an address is checked on a page of its own
    )

    @classmethod
    def open(cls, page: Page, key: object) -> Self:
        """Go there."""
        page.goto(f"{PREFIX}/{key}")
        return cls(page)

    @property
    def heading(self) -> Locator:
        """The client ID on top."""
        return self.root.get_by_role("heading", level=1)

    def configuration_value(self, term: str) -> Locator:
        """Return what the configuration says of a term."""
        return self.root.locator(f"dt:text-is('{term}') + dd")

    def section(self, heading: str) -> Locator:
        """Return a section by its heading."""
        return self.root.get_by_role("region", name=heading, exact=True)

    @property
    def address(self) -> Locator:
        """The field in which an address is checked or added."""
        return self.root.get_by_label("Check or add an address")

    def check_address(self, address: str, words: str) -> Self:
        """Check an address, and wait for what is said of it."""
        self.address.fill(address)
        self.root.get_by_role("button", name="Check", exact=True).click()
        expect(self.root.locator("#ic-address-result")).to_contain_text(words)
        return self

    def add_address(self, address: str) -> "Networks":
        """Open the list with one line more."""
        self.address.fill(address)
        self.root.get_by_role("button", name="Add", exact=True).click()
        return Networks(self.page)

    def remove_network(self, network: str) -> "Networks":
        """Open the list with one line less."""
        self.root.get_by_role("link", name=f"Remove {network}").click()
        return Networks(self.page)

    @property
    def activity(self) -> Locator:
        """What was done last, the newest first."""
        return self.root.get_by_role("region", name="Activity").locator(".ic-time > li")

    def edit(self) -> "EditClient":
        """Open Edit."""
        self.root.get_by_role("link", name="Edit", exact=True).click()
        return EditClient(self.page)

    def change_secret(self) -> "ChangeSecret":
        """Open Change secret."""
        self.root.get_by_role("link", name="Change secret", exact=True).click()
        return ChangeSecret(self.page)

    def more(self) -> "Menu":
        """Open the menu of further actions."""
        self.root.get_by_role("button", name="More actions").click()
        return Menu(self.page)

    def secret(self, label: str) -> Locator:
        """Return the row of a secret."""
        return self.root.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=f"Secret {label}"))

    def open_secret_action(self, label: str, verb: str) -> "Confirmation":
        """Press one of the actions of a secret; one that looks locked can be pressed as well, and says why."""
        self.secret(label).get_by_role("link", name=verb).press("Enter")
        return Confirmation(self.page)


class Activity(Screen):
    """The trail, of the account or of one client."""

    ROOT = "#ic .ic-page:has(#ic-results):has(#ic-action)"

    @classmethod
    def open(cls, page: Page, of: str = "", query: str = "") -> Self:
        """Go there.

        :param of: a client's key and a slash; empty: the account's.
        """
        page.goto(f"{PREFIX}/{of}activity{query}")
        return cls(page)

    @property
    def events(self) -> Locator:
        """What is told, the newest first."""
        return self.root.locator(".ic-time > li")

    def filter(self, label: str) -> Locator:
        """Return a field of the filters."""
        return self.root.get_by_role("search").get_by_label(label, exact=True)


class ClientForm(Screen):
    """The fields that New Client and Edit share."""

    ROOT = "#ic-form"

    def field(self, name: str) -> Locator:
        """Return a field by the name that it is posted under."""
        return self.root.locator(f"#f-{name}")

    @property
    def secret(self) -> Locator:
        """The field of the secret."""
        return self.field("client_secret")

    @property
    def chosen_roles(self) -> list[str]:
        """The keys of the roles that are ticked."""
        ticked = self.root.locator("[name=roles]:checked")
        return [str(box.get_attribute("value")) for box in ticked.all()]

    def fill(self, **values: str) -> Self:
        """Type into fields."""
        for name, value in values.items():
            self.field(name).fill(value)
        return self

    def choose(self, keys: Collection[str]) -> Self:
        """Tick these roles and no others."""
        for box in self.root.get_by_role("group", name="Roles").get_by_role("checkbox").all():
            box.set_checked(box.get_attribute("value") in keys)
        return self

    def press(self, label: str) -> None:
        """Press a button."""
        self.root.get_by_role("button", name=label, exact=True).click()

    def discard(self) -> None:
        """Leave the dialog by Escape, and agree that what was typed goes."""
        self.page.keyboard.press("Escape")
        self.page.get_by_role("dialog", name="Discard what you typed?").get_by_role("button", name="Discard").click()

    def message(self, name: str) -> Locator:
        """Return the place where something is said of a field."""
        return self.root.locator(f"#f-{name}-m")

    @property
    def summary(self) -> Locator:
        """The notice on top: what is wrong, or why nothing is saved yet."""
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
        """Go to its page."""
        page.goto(f"{PREFIX}/new")
        return cls(page)

    def create(self) -> "Handover":
        """Press Create."""
        self.press("Create")
        return Handover(self.page)

    def create_with_errors(self) -> Self:
        """Press Create, and get the form back."""
        self.press("Create")
        expect(self.summary).to_be_visible()
        return self


class EditClient(ClientForm):
    """Edit."""

    ROOT = "#ic-form:has(button:text-is('Save'))"

    @classmethod
    def open(cls, page: Page, key: object) -> Self:
        """Go to its page."""
        page.goto(f"{PREFIX}/{key}/edit")
        return cls(page)

    def save(self, then: type[AnyScreen]) -> AnyScreen:
        """Press Save."""
        self.press("Save")
        expect(self.root).to_have_count(0)
        return then(self.page)

    def save_with_errors(self) -> Self:
        """Press Save, and get the form back."""
        self.press("Save")
        expect(self.summary).to_be_visible()
        return self

    def save_stale(self) -> "Conflict":
        """Press Save where somebody else has saved meanwhile."""
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
        """Go to its page."""
        page.goto(f"{PREFIX}/{key}/secret")
        return cls(page)

    def choose_overlap(self, overlap: str) -> Self:
        """Choose when the old secret ends, in words."""
        self.root.get_by_role("radio", name=overlap).check()
        return self

    def change(self) -> "Handover":
        """Press the button."""
        self.press("Change secret")
        return Handover(self.page)

    def change_with_errors(self) -> Self:
        """Press the button, and get the form back."""
        self.press("Change secret")
        expect(self.summary).to_be_visible()
        return self


class Conflict(Screen):
    """Both values of each field that differs, and a choice between them."""

    ROOT = "#ic-form:has(button:text-is('Save my choices'))"

    def side(self, field: str, whose: str) -> Locator:
        """Return the cell of one side.

        :param whose: `Yours` or `Theirs`.
        """
        line = self.root.get_by_role("row").filter(has=self.page.get_by_role("rowheader", name=field, exact=True))
        return line.locator(f"td[data-l={whose}]")

    def choose(self, field: str, whose: str) -> Self:
        """Choose one side of a line."""
        self.side(field, whose).get_by_role("radio").check()
        return self

    def save(self, then: type[AnyScreen]) -> AnyScreen:
        """Save the choices."""
        self.root.get_by_role("button", name="Save my choices").click()
        expect(self.root).to_have_count(0)
        return then(self.page)


class Handover(Screen):
    """The one time that a secret is shown."""

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
        """The box that says that the secret is saved."""
        return self.root.get_by_role("checkbox", name="I have saved the secret")

    def copy(self, what: str) -> str:
        """Press the copy button of something, and return what the clipboard then holds."""
        button = self.root.locator(f"[data-what='{what}']")
        if not button.is_visible():
            self.root.locator("details", has=self.page.locator(f"[data-what='{what}']")).locator("summary").click()
        button.click()
        expect(button).to_contain_text("Copied")
        scratch_tab = self.page.context.new_page()  # our own pages may not read the clipboard
        scratch_tab.set_content("<textarea></textarea>")
        scratch_tab.locator("textarea").press("Control+V")
        expect(scratch_tab.locator("textarea")).not_to_have_value("")
        text = scratch_tab.locator("textarea").input_value()
        scratch_tab.close()
        return text

    def done(self, then: type[AnyScreen]) -> AnyScreen:
        """Say that the secret is saved, and close."""
        self.saved.check()
        self.root.get_by_role("button", name="Done").click()
        expect(self.root).to_have_count(0)
        return then(self.page)


class Confirmation(Screen):
    """The question before something is done."""

    ROOT = "form[method=post]:has(a:text-is('Cancel'))"

    def confirm(self, then: type[AnyScreen], button: str = "") -> AnyScreen:
        """Press the button that repeats the verb.

        :param button: which, where there are several.
        """
        self.press(button)
        expect(self.root).to_have_count(0)
        return then(self.page)

    def handover(self) -> Handover:
        """Return what follows where a new secret comes of it."""
        return Handover(self.page)

    def confirm_with_errors(self) -> Self:
        """Press the button that repeats the verb, and get the question back."""
        self.press()
        expect(self.root.get_by_role("alert")).to_be_visible()
        return self

    def press(self, button: str = "") -> None:
        """Press a button."""
        buttons = self.root.get_by_role("button", name=button, exact=True) if button else self.root.locator(".ic-go")
        buttons.click()


class Networks(Screen):
    """The list of allowed addresses, to be changed."""

    ROOT = "#ic-form:has(#f-allowed_networks)"

    @property
    def list(self) -> Locator:
        """The list."""
        return self.root.get_by_label("Allowed addresses")

    @property
    def alert(self) -> Locator:
        """The notice: what is wrong, or what would follow."""
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
