"""The commands of the stand-alone application: `flask mas ...`."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..cli import print_plan
from ..core.database.migrations import pending
from ..core.database.migrations import upgrade as upgrade_tables
from ..core.database.unit_of_work import unit_of_work
from ..core.errors import FieldError, Unavailable
from ..extension import IdentityClients
from ..host import services
from . import users
from .migrations import MAS
from .models import MasAccount, MasUser
from .settings import DATABASE_UNAVAILABLE

commands = AppGroup("mas", help="Manage the accounts and users of the stand-alone application.")
account_commands = AppGroup(
    "account", help="Add, list, enable and disable accounts; switch Identity Clients on or off."
)
user_commands = AppGroup("user", help="Add, list, enable and disable users; set passwords.")
commands.add_command(account_commands)
commands.add_command(user_commands)


def upgrade_all(app: Flask) -> None:
    """Migrate the tables of Identity Clients and of the stand-alone application to the newest revision."""
    with app.app_context():
        engine = services().engine
    upgrade_tables(engine)
    upgrade_tables(engine, history=MAS)


def update_identity_endpoint(app: Flask, account: MasAccount) -> None:
    """Apply the state of an account to its clients, with effect on the next token request."""
    IdentityClients.account_changed(app, account.id, feature_enabled=account.identity_clients_enabled)


@commands.command()
@click.option("--plan", is_flag=True, help="Only print what would be done.")
def upgrade(plan: bool) -> None:
    """Create all tables, or bring them up to date. Running it again changes nothing."""
    if plan:
        engine = services().engine
        print_plan([*pending(engine), *pending(engine, history=MAS)])
        return
    try:
        upgrade_all(_app())
    except Unavailable as error:
        raise click.ClickException("The database is unreachable or locked. Try again.") from error
    click.echo("All tables are up to date.")


# Accounts


@account_commands.command("add")
@click.argument("name")
def add_account(name: str) -> None:
    """Add an account. Identity Clients is off for it until `flask mas account feature on`."""
    with _unit_of_work() as session:
        account = users.add_account(session, name)
    update_identity_endpoint(_app(), account)
    click.echo(f"Added the account {account.name}.")


@account_commands.command("list")
def list_accounts() -> None:
    """List all accounts."""
    with _unit_of_work() as session:
        for account in session.scalars(select(MasAccount).order_by(MasAccount.name_folded)):
            feature = "on" if account.feature_enabled else "off"
            click.echo(f"{account.name}\tIdentity Clients {feature}\t{_state(account.enabled)}")


@account_commands.command("enable")
@click.argument("name")
def enable_account(name: str) -> None:
    """Enable an account: its users can sign in, and its clients get tokens."""
    _set_account_enabled(name, True)


@account_commands.command("disable")
@click.argument("name")
def disable_account(name: str) -> None:
    """Disable an account: its users are signed out, and its clients get no more tokens."""
    _set_account_enabled(name, False)


def _set_account_enabled(name: str, enabled: bool) -> None:
    with _unit_of_work() as session:
        account = _account(session, name)
        users.set_account_enabled(session, account, enabled)
    update_identity_endpoint(_app(), account)
    click.echo(f"The account {account.name} is {_state(enabled)}.")


@account_commands.command("feature")
@click.argument("state", type=click.Choice(["on", "off"]))
@click.argument("name")
def switch_feature(state: str, name: str) -> None:
    """Switch Identity Clients on or off for an account, with effect on the next request."""
    with _unit_of_work() as session:
        account = _account(session, name)
        account.feature_enabled = state == "on"
    update_identity_endpoint(_app(), account)
    click.echo(f"Identity Clients is {state} for {account.name}.")


# Users


@user_commands.command("add")
@click.argument("email")
@click.option("--account", "account_name", required=True, help="The account's name.")
@click.option("--name", required=True, help="The person's name.")
@click.option("--role", "roles", required=True, multiple=True, help="A role key; give it once for each role.")
def add_user(email: str, account_name: str, name: str, roles: tuple[str, ...]) -> None:
    """Add a user. Asks for the password."""
    known = users.HOST_ROLES.union(services().settings.viewer_roles, services().settings.permissions_by_role)
    with _unit_of_work() as session:
        _account(session, account_name)
    password_hash = _ask_password()
    with _unit_of_work() as session:
        user = users.add_user(
            session,
            _account(session, account_name),
            email=email,
            name=name,
            roles=roles,
            password_hash=password_hash,
            known_roles=known,
        )
    click.echo(f"Added the user {user.email}.")


@user_commands.command("list")
def list_users() -> None:
    """List all users with their account and roles."""
    with _unit_of_work() as session:
        for user in session.scalars(select(MasUser).order_by(MasUser.email_folded)):
            roles = ",".join(sorted(user.roles))
            click.echo(f"{user.email}\t{user.name}\t{user.account.name}\t{roles}\t{_state(user.enabled)}")


@user_commands.command("enable")
@click.argument("email")
def enable_user(email: str) -> None:
    """Enable a user, who can then sign in again."""
    _set_user_enabled(email, True)


@user_commands.command("disable")
@click.argument("email")
def disable_user(email: str) -> None:
    """Disable a user, who is signed out at once."""
    _set_user_enabled(email, False)


def _set_user_enabled(email: str, enabled: bool) -> None:
    with _unit_of_work() as session:
        user = _user(session, email)
        users.set_user_enabled(user, enabled)
    click.echo(f"The user {user.email} is {_state(enabled)}.")


@user_commands.command("password")
@click.argument("email")
def change_password(email: str) -> None:
    """Set another password for a user, and end their sessions. Asks for the password."""
    with _unit_of_work() as session:
        _user(session, email)
    password_hash = _ask_password()
    with _unit_of_work() as session:
        user = _user(session, email)
        users.set_password(user, password_hash)
    click.echo(f"The password of {user.email} is changed.")


# Helpers


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined, no-any-return]


@contextmanager
def _unit_of_work() -> Iterator[Session]:
    """Yield the session of a unit of work, and turn errors of core into messages of the command."""
    try:
        with unit_of_work(services().engine) as session:
            yield session
    except FieldError as error:
        raise click.ClickException(error.message) from error
    except Unavailable as error:
        raise click.ClickException(DATABASE_UNAVAILABLE) from error


def _account(session: Session, name: str) -> MasAccount:
    account = users.find_account(session, name)
    if account is None:
        raise click.ClickException(f"There is no account {name}. See: flask mas account list")
    return account


def _user(session: Session, email: str) -> MasUser:
    user = users.find_user(session, email)
    if user is None:
        raise click.ClickException(f"There is no user {email}. See: flask mas user list")
    return user


def _ask_password() -> str:
    """Prompt for a password twice, and return its hash."""
    label = f"Password ({users.PASSWORD_MIN} to {users.PASSWORD_MAX} characters)"
    try:
        return users.hash_password(click.prompt(label, hide_input=True, confirmation_prompt=True))
    except FieldError as error:
        raise click.ClickException(error.message) from error


def _state(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"
