"""Demo data for the development mode: three accounts, five users, and clients as a real account has them."""

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from ..core import clients
from ..core.accounts import set_account
from ..core.audit import Author
from ..core.database import reading, unit_of_work
from ..core.models import ClientSecret, Event, IdentityClient, utc_now
from ..core.secrets import generate_secret
from ..host import Services
from . import users
from .models import MasUser


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A person of the demo data; `account` is the account's name."""

    email: str
    name: str
    account: str
    role: str


@dataclass(frozen=True, slots=True)
class DemoClient:
    """A client of the demo data, made and perhaps disabled so many days ago."""

    account: str
    days_ago: int
    client_id: str
    name: str
    description: str
    minutes: int
    roles: frozenset[str]
    disabled_days_ago: int | None = None


NORTHWIND, HARBOUR, FABLE = "Northwind Insurance", "Harbour Claims", "Fable Mutual"
ACCOUNTS = {NORTHWIND: True, HARBOUR: True, FABLE: False}
"""Whether Identity Clients is on for each account."""

USERS = (
    DemoUser("admin@northwind.example", "Hannah Okafor", NORTHWIND, "MerchantAdmin"),
    DemoUser("manager@northwind.example", "Priya Nair", NORTHWIND, "ManageIdentityClients"),
    DemoUser("viewer@northwind.example", "Tom Reilly", NORTHWIND, "MerchantUser"),
    DemoUser("admin@harbour.example", "Grace Lindqvist", HARBOUR, "MerchantAdmin"),
    DemoUser("admin@fable.example", "Omar Haddad", FABLE, "MerchantAdmin"),
)
DEMO_EMAILS = tuple(user.email for user in USERS)

_READ = frozenset({"MerchantUser", "AccountViewer", "TransactionViewer"})
_PAY = _READ | {"CreatePayment", "StoredRecipientEditor"}

CLIENTS = (
    DemoClient(
        NORTHWIND,
        212,
        "northwind-claims-payments",
        "Claims payments",
        "Pays settled motor and property claims from the claims platform, through the day.",
        30,
        _PAY,
    ),
    DemoClient(
        NORTHWIND,
        205,
        "northwind-claims-payments-test",
        "Claims payments (test)",
        "The same integration against the test environment. Owned by the claims platform team.",
        60,
        _PAY,
    ),
    DemoClient(
        NORTHWIND,
        191,
        "northwind-bordereaux",
        "Bordereaux reports",
        "Collects the month's bordereaux for the delegated authority team.",
        10,
        frozenset({"MerchantUser", "ReportViewer"}),
    ),
    DemoClient(
        NORTHWIND,
        174,
        "northwind-ledger-feed",
        "General ledger feed",
        "Reads balances and movements every hour for finance.\nContact: finance-systems@northwind.example",
        15,
        _READ | {"ReportViewer"},
    ),
    DemoClient(
        NORTHWIND,
        160,
        "northwind-cat-response",
        "Catastrophe response",
        "Urgent payments to policyholders after a declared event. Used only while one is open.",
        10,
        _READ | {"CreatePayment", "CreateUrgentPayments", "StoredRecipientEditor"},
        21,
    ),
    DemoClient(
        NORTHWIND,
        143,
        "northwind-batch-upload",
        "Nightly batch upload",
        "Uploads the file of premium refunds at 01:30.",
        60,
        frozenset({"MerchantUser", "UploadBatches"}),
    ),
    DemoClient(
        NORTHWIND,
        118,
        "northwind-cheque-voids",
        "Cheque voids",
        "Asks for cheques to be cancelled where a customer has moved.",
        20,
        frozenset({"MerchantUser", "TransactionViewer", "MerchantCreateVoidRequest"}),
    ),
    DemoClient(
        NORTHWIND,
        97,
        "northwind-treasury-sweep",
        "Treasury sweep",
        "Moves surplus funds between our own accounts at close of business.",
        10,
        frozenset({"MerchantUser", "AccountViewer", "AccountMovementEditor"}),
    ),
    DemoClient(
        NORTHWIND,
        81,
        "brightside-adjusters",
        "Brightside Adjusters",
        "Our loss adjuster reads the status of payments that they asked for. Contract ends in March.",
        10,
        frozenset({"MerchantUser", "TransactionViewer"}),
    ),
    DemoClient(
        NORTHWIND,
        66,
        "northwind-data-warehouse",
        "",
        "Loads transactions for reporting. Read only.",
        45,
        _READ,
    ),
    DemoClient(
        NORTHWIND,
        33,
        "northwind-claims-portal-old",
        "Claims portal, before the move",
        "Replaced by northwind-claims-payments. Kept until nobody asks for it.",
        30,
        _PAY,
        12,
    ),
    DemoClient(
        NORTHWIND,
        5,
        "northwind-recipient-sync",
        "Recipient sync",
        "Keeps stored recipients equal to the supplier list in procurement.",
        20,
        frozenset({"MerchantUser", "StoredRecipientEditor"}),
    ),
    DemoClient(
        HARBOUR,
        88,
        "harbour-marine-claims",
        "Marine claims",
        "Pays marine and cargo claims.",
        30,
        _PAY,
    ),
    DemoClient(
        HARBOUR,
        40,
        "harbour-statements",
        "Statements",
        "Downloads account statements for the auditors.",
        10,
        frozenset({"MerchantUser", "AccountViewer", "ReportViewer"}),
    ),
)


def has_users(engine: Engine) -> bool:
    """Tell whether the database holds any user."""
    with reading(engine) as session:
        return session.scalar(select(MasUser.id).limit(1)) is not None


def load(services: Services, password: str) -> None:
    """Add all demo data in one transaction, with the events of its months.

    :param password: everybody's; 12-128 characters.
    :raises FieldError: the password has another length.
    """
    hashes = [users.hash_password(password) for _ in USERS]
    with unit_of_work(services.engine) as session:
        clock = _Clock(session)
        accounts = {
            name: users.add_account(session, name, feature_enabled=feature_on) for name, feature_on in ACCOUNTS.items()
        }
        people: dict[str, MasUser] = {}
        for person, password_hash in zip(USERS, hashes, strict=True):
            user = users.add_user(
                session,
                accounts[person.account],
                email=person.email,
                name=person.name,
                roles={person.role},
                password_hash=password_hash,
            )
            people.setdefault(person.account, user)
        for account in accounts.values():
            set_account(session, account.id, feature_enabled=account.identity_clients_enabled, grantable_roles=None)
        for client in CLIENTS:
            _add_client(session, services, client, people[client.account], clock)


def set_password(engine: Engine, password: str) -> bool:
    """Give every demo user this password, where it is not theirs already; tell whether there is a demo user.

    :raises FieldError: the password has not 12-128 characters.
    """
    with unit_of_work(engine) as session:
        found = session.scalars(select(MasUser).where(MasUser.email_folded.in_(DEMO_EMAILS))).all()
        for user in found:
            if not users.is_password(user.password_hash, password):
                users.set_password(user, users.hash_password(password))
    return bool(found)


def _add_client(session: Session, services: Services, demo: DemoClient, owner: MasUser, clock: "_Clock") -> None:
    author = Author(owner.id, owner.name, owner.account_id)
    clock.moment = _in_office_hours(demo.days_ago, demo.client_id)
    client = clients.create_client(
        session,
        author=author,
        values=clients.ClientValues(demo.client_id, demo.name, demo.description, str(demo.minutes), demo.roles),
        secret=generate_secret(services.settings.secret_prefix).reveal(),  # nobody is told it: change it to use it
        creation_key=None,
        catalogue=services.catalogue,
        granted=None,
        hasher=services.hasher,
        throttles=services.throttles,
    )
    session.flush()
    if demo.disabled_days_ago is not None:
        clock.moment = _in_office_hours(demo.disabled_days_ago, demo.name)
        clients.set_enabled(session, author=author, key=client.id, version=client.version, enabled=False)
        session.flush()


def _in_office_hours(days_ago: int, text: str) -> datetime:
    """Return a moment of that day which looks like a person's; the same text gives the same one."""
    minutes = zlib.crc32(text.encode()) % (8 * 60)
    return (utc_now() - timedelta(days=days_ago)).replace(hour=9 + minutes // 60, minute=minutes % 60)


class _Clock:
    """Dates what a session writes: the rules themselves know only the present, and events are never changed later."""

    def __init__(self, session: Session) -> None:
        self.moment: datetime | None = None
        event.listen(session, "before_flush", self._date)

    def _date(self, session: Session, *_: object) -> None:
        if self.moment is None:
            return
        for row in session.new:
            if isinstance(row, Event):
                row.at = self.moment
            elif isinstance(row, IdentityClient):
                row.created_at = row.updated_at = self.moment
            elif isinstance(row, ClientSecret):
                row.created_at = self.moment
        for row in session.dirty:
            if isinstance(row, IdentityClient):
                row.updated_at = self.moment
