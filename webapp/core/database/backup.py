"""Copying a SQLite database while it is in use."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

from sqlalchemy import Engine

from ..errors import DomainError
from .engine import is_open_to_others
from .unit_of_work import connect


class BackupRefused(DomainError):
    """No backup can be made there. The text says why, and what to do."""


def back_up(engine: Engine, file: Path) -> None:
    """Copy the database as it stands at one moment into a new file of mode 0600, while others go on writing (C4).

    The file gets its name when it is whole, so that a backup that broke off is never taken for one.

    :raises BackupRefused: the file exists, or others can enter its directory.
    :raises OSError: the file cannot be written.
    :raises Unavailable: the database is out of reach.
    :raises sqlite3.Error: the database cannot be read, or the disk is full.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_open_to_others(file.parent):
        raise BackupRefused(
            f"Other users can enter {file.parent}. Run: chmod 700 {file.parent}"
            f" - or, if others need it, name a file in a directory of its own, made by: mkdir -m 700 NAME"
        )
    if file.exists():
        raise BackupRefused(f"{file} exists. Name a file that does not.")
    part = file.with_name(f"{file.name}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise BackupRefused(f"{part} exists: another backup is under way, or broke off. Then delete it.") from None
    try:
        with connect(engine) as connection, closing(sqlite3.connect(part)) as target:
            cast(sqlite3.Connection, connection.connection.driver_connection).backup(target)
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
