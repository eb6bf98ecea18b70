"""Back up a SQLite database while it is in use."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

from sqlalchemy import Engine

from ..errors import DomainError
from .sqlite import is_accessible_to_others
from .unit_of_work import connect


class BackupRefused(DomainError):
    """The backup cannot be written there. The message says why, and what to do."""


def back_up(engine: Engine, file: Path) -> None:
    """Copy the database, as of one point in time, into a new file of mode 0600 while others go on writing (C4).

    The file gets its name once it is complete, so that an interrupted backup is never mistaken for one.

    :raises BackupRefused: the file exists, or other users have access to its directory.
    :raises OSError: the file cannot be written.
    :raises Unavailable: the database is unreachable.
    :raises sqlite3.Error: the database cannot be read, or the disk is full.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_accessible_to_others(file.parent):
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
        raise BackupRefused(
            f"{part} exists: another backup is running, or one was interrupted; then delete it."
        ) from None
    try:
        with connect(engine) as connection, closing(sqlite3.connect(part)) as target:
            cast(sqlite3.Connection, connection.connection.driver_connection).backup(target)
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
