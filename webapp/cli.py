"""The commands: `flask identity-clients ...`."""

import getpass
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import click
from flask.cli import AppGroup
from sqlalchemy.orm import Session

from .core import retention
from .core.database import migrations
from .core.database.backup import BackupRefused, back_up
from .core.database.models import utc_now
from .core.database.unit_of_work import unit_of_work
from .core.errors import FieldError, NotFound, SigningKeyUnusable, Unavailable
from .core.notifications.attention import send_attention_signals
from .core.secrets.generation import generate_secret
from .core.tokens.resource_servers import add_resource_server, list_resource_servers, remove_resource_server
from .core.tokens.signing_keys import JWKS_CACHE_SECONDS
from .host import services

commands = AppGroup("identity-clients", help="Look after the tables and keys of Identity Clients.")
keys = AppGroup("keys", help="List, rotate and withdraw the keys that sign tokens.")
resource_server = AppGroup("resource-server", help="Say which APIs may ask about every token.")
commands.add_command(keys)
commands.add_command(resource_server)


@commands.command()
def upgrade() -> None:
    """Create the tables, or bring them up to date. Running it again changes nothing."""
    migrations.upgrade(services().engine)
    click.echo("The tables of Identity Clients are up to date.")


@commands.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy a SQLite database into a new FILE, readable by its owner only, while the application goes on serving."""
    engine = services().engine
    if engine.dialect.name != "sqlite":
        url = engine.url.set(drivername="postgresql", password=None).render_as_string()
        raise click.UsageError(
            "This command copies SQLite databases. For PostgreSQL run its own:"
            f" umask 077 && pg_dump --format=custom --file={shlex.quote(str(file))} {shlex.quote(url)}"
        )
    try:
        with _failures_told():
            back_up(engine, file)
    except BackupRefused as error:
        raise click.ClickException(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise click.ClickException(f"No backup was made: {error}") from error
    click.echo(f"The database is copied to {file}. Keep the pepper and the key-encryption key elsewhere, and safe:")
    click.echo("without the pepper no secret in it is of any use, without the other key no signing key.")


@commands.command()
def purge() -> None:
    """Delete what is past its retention: events, token requests, their counts, callers' addresses, revoked tokens."""
    ours = services()
    with _failures_told():
        purged = retention.purge(
            ours.engine,
            actor=_user(),
            event_days=ours.settings.event_retention_days,
            token_request_days=ours.settings.token_request_retention_days,
            now=utc_now(),
        )
    click.echo(
        f"Deleted: {purged.events} events, {purged.token_requests} token requests, {purged.token_request_counts}"
        f" counts of token requests, {purged.caller_addresses} addresses of callers,"
        f" {purged.revoked_tokens} records of revoked tokens."
    )


@commands.command()
def attention() -> None:
    """Send the signal `attention` for each client that needs it for a new reason. For cron, such as once an hour."""
    with _failures_told():
        told = send_attention_signals(services().engine)
    click.echo(f"New reasons for attention: {told}.")


# Signing keys


@keys.command("list")
def list_keys() -> None:
    """List the signing keys: ID, state, when each began or begins to sign, and when it ends."""
    with _failures_told():
        for key, state in services().keys.states(utc_now()):
            until = f"until {_time(key.signs_until)}" if key.signs_until else ""
            click.echo(f"{key.kid}\t{state.value}\tfrom {_time(key.signs_from)}\t{until}".rstrip())


@keys.command()
def rotate() -> None:
    """Publish the next signing key before its time. Running it again while it waits changes nothing."""
    with _failures_told():
        key = services().keys.rotate(utc_now(), _user())
    click.echo(f"Key {key.kid} is published, and signs from {_time(key.signs_from)}.")


@keys.command(context_settings={"ignore_unknown_options": True})  # a key ID may begin with a hyphen
@click.argument("kid")
def withdraw(kid: str) -> None:
    """Withdraw a signing key in an emergency: its tokens count no more, and their clients need new ones."""
    with _failures_told():
        try:
            services().keys.withdraw(kid, utc_now(), _user())
        except NotFound as error:
            raise click.ClickException(f"There is no key {kid}. See: flask identity-clients keys list") from error
    click.echo(f"Key {kid} is withdrawn. An API may accept its tokens until it has read the key set again,")
    click.echo(f"which is at most {JWKS_CACHE_SECONDS} seconds from now where it keeps to what the key set says.")


# Resource servers


@resource_server.command("add")
@click.argument("name")
def add_server(name: str) -> None:
    """Let an API ask about every token. Prints its ID and its secret, which is never shown again."""
    ours = services()
    secret = generate_secret(ours.settings.secret_prefix)
    with _change() as session:
        server = add_resource_server(session, actor=_user(), name=name, secret=secret, hasher=ours.hasher)
    click.echo(f"Added the resource server {server.name}. Keep its secret now: it is not shown again.")
    click.echo(f"ID\t{server.resource_server_id}\nSecret\t{secret.reveal()}")


@resource_server.command("list")
def list_servers() -> None:
    """List the resource servers: name, ID, when it was added."""
    with _change() as session:
        for server in list_resource_servers(session):
            click.echo(f"{server.name}\t{server.resource_server_id}\tadded {_time(server.created_at)}")


@resource_server.command("remove")
@click.argument("name")
def remove_server(name: str) -> None:
    """Refuse a resource server from its next request on."""
    with _change() as session:
        try:
            remove_resource_server(session, actor=_user(), name=name)
        except NotFound as error:
            raise click.ClickException(
                f"There is no resource server {name}. See: flask identity-clients resource-server list"
            ) from error
    click.echo(f"Removed the resource server {name}.")


# Parts


@contextmanager
def _change() -> Iterator[Session]:
    with _failures_told(), unit_of_work(services().engine) as session:
        yield session


@contextmanager
def _failures_told() -> Iterator[None]:
    """Let what a rule refuses, or a silent database, end the command with a message."""
    try:
        yield
    except FieldError as error:
        raise click.ClickException(error.message) from error
    except SigningKeyUnusable as error:
        raise click.ClickException(f"{error} Is IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY the right one?") from error
    except Unavailable as error:
        raise click.ClickException("The database does not answer, or is locked. Try again.") from error


def _user() -> str:
    """Return who gave the command, for the trail."""
    try:
        return f"command of {getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "command"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
