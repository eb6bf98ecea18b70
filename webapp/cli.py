"""The commands: `flask identity-clients ...`."""

import click
from flask.cli import AppGroup

from .core import migrate
from .host import services

commands = AppGroup("identity-clients", help="Look after the tables of Identity Clients.")


@commands.command()
def upgrade() -> None:
    """Create the tables, or bring them up to date. Running it again changes nothing."""
    migrate.upgrade(services().engine)
    click.echo("The tables of Identity Clients are up to date.")
