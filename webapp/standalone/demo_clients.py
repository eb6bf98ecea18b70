"""The demo data: three accounts, five users, and clients as a real account has them."""

from dataclasses import dataclass

from ..core.database.outcomes import AuthenticationFailure, Outcome
from .demo_usage import Caller, Refusals

_HOUR, _DAY = 60, 24 * 60  # in minutes


@dataclass(frozen=True, slots=True)
class DemoUser:
    """A user of the demo data; `account` is the account's name."""

    email: str
    name: str
    account: str
    role: str


@dataclass(frozen=True, slots=True)
class SecondSecret:
    """A change of the secret.

    :param old_ends_in_days: when the old secret ends or ended, in days from now; None for no end date.
    """

    days_ago: int
    old_ends_in_days: float | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A public key that was added; nobody has its private key."""

    days_ago: int


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of token duration and roles; None leaves a value unchanged."""

    days_ago: int
    by: str
    minutes: int | None = None
    roles: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """An access review by the first person of the account."""

    days_ago: int


@dataclass(frozen=True, slots=True)
class DemoClient:
    """A client of the demo data.

    :param days_ago: when it was created.
    :param networks: its allowed addresses, as a person would type them.
    """

    account: str
    days_ago: int
    client_id: str
    name: str
    description: str
    minutes: int
    roles: frozenset[str]
    disabled_days_ago: int | None = None
    review: Review | None = None
    networks: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    second_secret: SecondSecret | None = None
    key: NewKey | None = None
    callers: tuple[Caller, ...] = ()
    refusals: tuple[Refusals, ...] = ()


NORTHWIND, HARBOUR, FABLE = "Northwind Insurance", "Harbour Claims", "Fable Mutual"
ACCOUNTS = {NORTHWIND: True, HARBOUR: True, FABLE: False}
"""Whether Identity Clients is enabled, for each account."""

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
_PAYMENTS = "payment-requests stored-recipients"
_ELSEWHERE = "198.51.100.20"

# Between them those of Northwind need attention for every reason that needs no setting.
CLIENTS = (
    DemoClient(
        NORTHWIND,
        212,
        "northwind-claims-payments",
        "Claims payments",
        "Pays settled motor and property claims from the claims platform, through the day.",
        60,
        _PAY,
        review=Review(40),
        owner="claims-platform@northwind.example",
        tags=("claims", "production"),
        networks="203.0.113.0/28 London data centre\n2001:db8:40::/48 Dublin, stand-by",
        edits=(
            Edit(103, "Hannah Okafor", roles=_PAY | {"MerchantCreateVoidRequest"}),
            Edit(2, "Priya Nair", minutes=30),
        ),
        second_secret=SecondSecret(3, 4),
        callers=(
            Caller("203.0.113.7", 130, 3, scope=_PAYMENTS),
            Caller("203.0.113.9", 30, 8, "B", scope="payment-requests", since_days_ago=2),
        ),
        refusals=(
            Refusals(AuthenticationFailure.ADDRESS_NOT_ALLOWED, 6, 14, _ELSEWHERE, "B", "payment-requests"),
            Refusals(Outcome.SCOPE_NOT_ALLOWED, 1, 16, "203.0.113.9", "B", "other"),
            Refusals(AuthenticationFailure.WRONG_SECRET, 2, 49, "203.0.113.7", scope="payment-requests"),
            Refusals(AuthenticationFailure.WRONG_SECRET, 22, 5 * _DAY, "203.0.113.7", scope="payment-requests"),
            Refusals(Outcome.THROTTLED, 9, 5 * _DAY - 2, "203.0.113.7"),
            Refusals(Outcome.SCOPE_MALFORMED, 2, 11 * _DAY, "203.0.113.7", "A", "other"),
        ),
    ),
    DemoClient(
        NORTHWIND,
        205,
        "northwind-claims-payments-test",
        "Claims payments (test)",
        "The same integration against the test environment. Owned by the claims platform team.",
        60,
        _PAY,
        review=Review(40),
        owner="claims-platform@northwind.example",
        tags=("claims", "test"),
        second_secret=SecondSecret(41, None),
        callers=(
            Caller("203.0.113.40", 12, 25, scope="API payment-requests"),
            Caller("203.0.113.41", 4, 190, "B", scope="API"),
        ),
        refusals=(Refusals(Outcome.SCOPE_NOT_ALLOWED, 3, 2 * _DAY, "203.0.113.40", "A", "account-movements"),),
    ),
    DemoClient(
        NORTHWIND,
        191,
        "northwind-bordereaux",
        "Bordereaux reports",
        "Collects the month's bordereaux for the delegated authority team.",
        10,
        frozenset({"MerchantUser", "ReportViewer"}),
        owner="Delegated authority team",
        tags=("production", "reporting"),
        callers=(Caller("192.0.2.18", 3, 4 * _HOUR, scope="other"),),
    ),
    DemoClient(
        NORTHWIND,
        402,
        "northwind-ledger-feed",
        "General ledger feed",
        "Reads balances and movements every hour for finance.\nContact: finance-systems@northwind.example",
        15,
        _READ | {"ReportViewer"},
        review=Review(40),
        owner="finance-systems@northwind.example",
        tags=("finance", "production"),
        networks="192.0.2.64/27 Finance systems",
        callers=(Caller("192.0.2.70", 24, 37, scope="accounts:read transactions:read"),),
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
        owner="claims-platform@northwind.example",
        tags=("claims", "production"),
        callers=(Caller("203.0.113.12", 6, 22 * _DAY, scope="payment-requests"),),
    ),
    DemoClient(
        NORTHWIND,
        143,
        "northwind-batch-upload",
        "Nightly batch upload",
        "Uploads the file of premium refunds at 01:30.",
        60,
        frozenset({"MerchantUser", "UploadBatches"}),
        owner="finance-systems@northwind.example",
        tags=("finance", "production"),
        second_secret=SecondSecret(8, -0.5),
        callers=(Caller("203.0.113.21", 4, _DAY, scope="payment-requests payment-batches", hour=1),),
        refusals=(
            Refusals(
                AuthenticationFailure.ENDED_SECRET, 9, 12, "203.0.113.21", "A", "payment-requests payment-batches"
            ),
        ),
    ),
    DemoClient(
        NORTHWIND,
        118,
        "northwind-cheque-voids",
        "Cheque voids",
        "Asks for cheques to be cancelled where a customer has moved.",
        20,
        frozenset({"MerchantUser", "TransactionViewer", "MerchantCreateVoidRequest"}),
        callers=(Caller("203.0.113.7", 7, 2 * _HOUR, scope="void-requests"),),
    ),
    DemoClient(
        NORTHWIND,
        97,
        "northwind-treasury-sweep",
        "Treasury sweep",
        "Moves surplus funds between our own accounts at close of business.",
        10,
        frozenset({"MerchantUser", "AccountViewer", "AccountMovementEditor"}),
        owner="Treasury",
        tags=("finance", "production"),
        networks="192.0.2.81 Treasury workstation",
        callers=(Caller("192.0.2.81", 2, 15 * _HOUR, scope="account-movements", hour=17),),
        refusals=(Refusals(Outcome.PLAIN_HTTP, 1, 9 * _DAY, "192.0.2.81", "A", "account-movements"),),
    ),
    DemoClient(
        NORTHWIND,
        181,
        "brightside-adjusters",
        "Brightside Adjusters",
        "Our loss adjuster reads the status of payments that they asked for. Contract ends in March.",
        10,
        frozenset({"MerchantUser", "TransactionViewer"}),
        review=Review(40),
        owner="Priya Nair",
        tags=("vendor",),
        callers=(Caller("198.51.100.77", 0, 97 * _DAY, scope="transactions:read"),),
    ),
    DemoClient(
        NORTHWIND,
        66,
        "northwind-data-warehouse",
        "",
        "Loads transactions for reporting. Read only.",
        45,
        _READ,
        tags=("production", "reporting"),
        key=NewKey(24),
        callers=(
            Caller("192.0.2.33", 5, 21 * _DAY, scope="transactions:read", hour=3, since_days_ago=8),
            Caller("192.0.2.33", 5, 9 * _HOUR, "1", scope="transactions:read", hour=3, since_days_ago=20),
        ),
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
        callers=(Caller("203.0.113.15", 18, 13 * _DAY, scope=_PAYMENTS),),
        refusals=tuple(
            Refusals(
                AuthenticationFailure.DISABLED, 5 - days_ago // 3, days_ago * _DAY + 70, "203.0.113.15", "A", _PAYMENTS
            )
            for days_ago in range(1, 12)
        ),
    ),
    DemoClient(
        NORTHWIND,
        9,
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
        owner="Grace Lindqvist",
        tags=("production",),
        callers=(Caller("198.51.100.200", 40, 6, scope=_PAYMENTS),),
    ),
    DemoClient(
        HARBOUR,
        40,
        "harbour-statements",
        "Statements",
        "Downloads account statements for the auditors.",
        10,
        frozenset({"MerchantUser", "AccountViewer", "ReportViewer"}),
        callers=(Caller("198.51.100.201", 3, 5 * _HOUR, scope="other"),),
    ),
)
