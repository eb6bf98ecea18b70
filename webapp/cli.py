"""The commands: `flask identity-clients ...`."""

import getpass
import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

import click
from flask.cli import AppGroup, with_appcontext
from sqlalchemy.orm import Session

from .core import retention
from .core.audit.stream import stream
from .core.checkpoints.signing import CheckpointSigner
from .core.checkpoints.verification import ChainVerifier
from .core.database import migrations
from .core.database.backup import BackupRefused, back_up
from .core.database.models import utc_now
from .core.database.time_limits import response_limit
from .core.database.unit_of_work import unit_of_work
from .core.errors import FieldError, NotFound, SigningKeyUnusable, Unavailable
from .core.notifications.attention import send_attention_signals
from .core.notifications.checkpoints import sign_checkpoints
from .core.tokens.resource_servers import add_resource_server, list_resource_servers, remove_resource_server
from .core.tokens.signing_keys import JWKS_CACHE_SECONDS
from .host import check_configuration, services

commands = AppGroup(
    "identity-clients",
    help="Maintain the tables and keys of Identity Clients.",
    callback=with_appcontext(check_configuration),
)
keys = AppGroup("keys", help="List, rotate and withdraw the keys that sign tokens.")
audit = AppGroup("audit", help="Verify the audit log, and sign its checkpoints.")
resource_server = AppGroup("resource-server", help="Manage the APIs that may introspect every token.")
commands.add_command(keys)
commands.add_command(audit)
commands.add_command(resource_server)


@commands.command()
@click.option("--plan", is_flag=True, help="Only print what would be done.")
def upgrade(plan: bool) -> None:
    """Create or upgrade the tables. Running it again changes nothing."""
    engine = services().engine
    with _report_errors():
        if plan:
            print_plan(migrations.pending(engine))
            return
        migrations.upgrade(engine)
    click.echo("The tables of Identity Clients are up to date.")


@commands.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy a SQLite database into a new FILE, readable by its owner only, while the application is running."""
    engine = services().engine
    if engine.dialect.name != "sqlite":
        url = engine.url.set(drivername="postgresql", password=None).render_as_string()
        raise click.UsageError(
            "This command copies SQLite databases. For PostgreSQL run its own:"
            f" umask 077 && pg_dump --format=custom --file={shlex.quote(str(file))} {shlex.quote(url)}"
        )
    try:
        with _report_errors():
            back_up(engine, file)
    except BackupRefused as error:
        raise click.ClickException(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        raise click.ClickException(f"No backup was made: {error}") from error
    click.echo(f"The database is copied to {file}. Keep the pepper and the key-encryption key elsewhere, and safe:")
    click.echo("without the pepper no secret in it verifies, without the key-encryption key no signing key decrypts.")


@commands.command()
def purge() -> None:
    """Delete rows past their retention period: audit events, token requests, counts, addresses, tokens, messages."""
    ours = services()
    with _report_errors():
        now = utc_now()
        purged = retention.purge(
            ours.engine,
            actor=_user(),
            event_days=ours.settings.event_retention_days,
            token_request_days=ours.settings.token_request_retention_days,
            request_log_days=ours.settings.request_log_days,
            signer=CheckpointSigner(ours.keys, ours.settings.issuer, now),
            now=now,
        )
    click.echo(
        f"Deleted: {purged.events} events, {purged.token_requests} token requests, {purged.token_request_counts}"
        f" counts of token requests, {purged.caller_addresses} addresses of callers,"
        f" {purged.revoked_tokens} records of revoked tokens, {purged.notifications} notifications."
    )


@commands.command()
def attention() -> None:
    """Notify of each client that needs attention for a new reason, and send its signal. Run it hourly from cron."""
    with _report_errors():
        sent = send_attention_signals(services().engine)
        services().delivery.renew_encryption()
    click.echo(f"New reasons for attention: {sent}.")


@commands.command()
def notify() -> None:
    """Deliver the notifications that are due, by e-mail and to webhooks. Run it every minute from cron."""
    with _report_errors():
        run = services().delivery.deliver_due()
    click.echo(f"Notifications delivered: {run.delivered}, failed: {run.failed}.")


@commands.command("stream-audit")
@click.argument("file", type=click.File("a", encoding="utf-8"))
@click.option(
    "--position",
    type=click.Path(path_type=Path),
    required=True,
    help="The file that keeps how far the stream has come; it is created.",
)
def stream_audit(file: TextIO, position: Path) -> None:
    """Append new audit events to FILE, or `-`, as JSON lines of OCSF. Run it every minute from cron."""
    try:
        with _report_errors():
            written = stream(services().engine, file, position)
    except BlockingIOError as error:
        raise click.ClickException("Another process streams with this position.") from error
    click.echo(f"Audit events written: {written}.", err=True)


def print_plan(pending: Sequence[migrations.PendingRevision]) -> None:
    """Print the revisions that an upgrade would run."""
    for revision in pending:
        click.echo(f"{revision.number}\t{revision.description}")
    if not pending:
        click.echo("Nothing is to be done.")


# The audit log


@audit.command()
@click.option("--account", help="Verify the chain of this account only.")
@click.option(
    "--checkpoint",
    "checkpoints",
    type=click.File(encoding="utf-8"),
    help="Compare with a FILE that was kept elsewhere, or `-`: checkpoints, webhook messages, lines of stream-audit.",
)
def verify(account: str | None, checkpoints: TextIO | None) -> None:
    """Find audit events that were changed, moved or removed. Exits with 1 if there are any."""
    findings = 0
    with _report_errors():
        verifier = ChainVerifier(services().engine)
        accounts = verifier.accounts()
        if account is not None and account not in accounts:
            raise click.ClickException(f"There is no chain of an account {account}.")
        for account_id in accounts if account is None else [account]:
            for finding in verifier.verify(account_id):
                click.echo(finding)
                findings += 1
        if checkpoints is not None:
            for finding in verifier.compare(checkpoints, account):
                click.echo(finding)
                findings += 1
    verified = verifier.verified
    click.echo(f"Verified: {verified.events} events; outside the chain, from before it: {verified.before}.")
    if verified.waiting:
        click.echo(f"Not chained yet: {verified.waiting}.")
    if checkpoints is not None:
        click.echo(f"Compared: {verified.compared}, of which purged: {verified.purged}.")
        if not verified.compared:
            raise click.ClickException("There was nothing to compare with.")
    if findings:
        raise click.ClickException(f"The audit log is not as it was written: {findings} findings.")


@audit.command()
def checkpoint() -> None:
    """Sign a checkpoint of each account's audit log, once a day; notify its targets. Run it daily from cron."""
    ours = services()
    with _report_errors():
        signed = sign_checkpoints(ours.engine, ours.keys, ours.settings.issuer, utc_now())
    click.echo(f"Checkpoints signed: {signed}.")


# Signing keys


@keys.command("list")
def list_keys() -> None:
    """List the signing keys: ID, state, start and end of signing."""
    with _report_errors():
        for key, state in services().keys.states(utc_now()):
            until = f"until {_format_time(key.signs_until)}" if key.signs_until else ""
            click.echo(f"{key.kid}\t{state.value}\tfrom {_format_time(key.signs_from)}\t{until}".rstrip())


@keys.command()
def rotate() -> None:
    """Create and publish the next signing key now. Running it again while that one waits changes nothing."""
    with _report_errors():
        key = services().keys.rotate(utc_now(), _user())
    click.echo(f"Key {key.kid} is published, and signs from {_format_time(key.signs_from)}.")


@keys.command(context_settings={"ignore_unknown_options": True})  # a key ID may begin with a hyphen
@click.argument("kid")
def withdraw(kid: str) -> None:
    """Withdraw a signing key in an emergency: its tokens become invalid, and clients must request new ones."""
    with _report_errors():
        try:
            services().keys.withdraw(kid, utc_now(), _user())
        except NotFound as error:
            raise click.ClickException(f"There is no key {kid}. See: flask identity-clients keys list") from error
    click.echo(f"Key {kid} is withdrawn. An API may accept its tokens until it reads the key set again,")
    click.echo(f"which is at most {JWKS_CACHE_SECONDS} seconds from now if it respects Cache-Control.")


# Resource servers


@resource_server.command("add")
@click.argument("name")
def add_server(name: str) -> None:
    """Let an API introspect every token. Prints its ID and its secret, which is not shown again."""
    ours = services()
    secret = ours.secrets.generate()
    with _unit_of_work() as session:
        server = add_resource_server(session, actor=_user(), name=name, secret=secret, hasher=ours.secrets.hasher)
    click.echo(f"Added the resource server {server.name}. Keep its secret now: it is not shown again.")
    click.echo(f"ID\t{server.resource_server_id}\nSecret\t{secret.reveal()}")


@resource_server.command("list")
def list_servers() -> None:
    """List the resource servers: name, ID, date of creation."""
    with _unit_of_work() as session:
        for server in list_resource_servers(session):
            click.echo(f"{server.name}\t{server.resource_server_id}\tadded {_format_time(server.created_at)}")


@resource_server.command("remove")
@click.argument("name")
def remove_server(name: str) -> None:
    """Remove a resource server; its next request is refused."""
    with _unit_of_work() as session:
        try:
            remove_resource_server(session, actor=_user(), name=name)
        except NotFound as error:
            raise click.ClickException(
                f"There is no resource server {name}. See: flask identity-clients resource-server list"
            ) from error
    click.echo(f"Removed the resource server {name}.")


# Helpers


@contextmanager
def _unit_of_work() -> Iterator[Session]:
    with _report_errors(), unit_of_work(services().engine) as session:
        yield session


@contextmanager
def _report_errors() -> Iterator[None]:
    """Turn errors that the operator can correct into click's error messages, and let statements take their time."""
    try:
        with response_limit(None):
            yield
    except FieldError as error:
        raise click.ClickException(error.message) from error
    except SigningKeyUnusable as error:
        raise click.ClickException(f"{error} Is IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY the right one?") from error
    except Unavailable as error:
        raise click.ClickException("The database is unreachable or locked. Try again.") from error


def _user() -> str:
    """Return the actor of the command for the audit log."""
    try:
        return f"command of {getpass.getuser()}"
    except (KeyError, OSError):  # in a container the user may have no name
        return "command"


def _format_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
