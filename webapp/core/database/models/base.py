"""The declarative base, and the default of each table's key."""

import uuid
from datetime import UTC, datetime

import uuid_utils.compat
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase


def utc_now() -> datetime:
    """Return the time now, in UTC and aware."""
    return datetime.now(UTC)


def new_id() -> uuid.UUID:
    """Return a new UUIDv7 (RFC 9562), which sorts by time of creation."""
    return uuid_utils.compat.uuid7()


class Base(DeclarativeBase):
    """Base of all tables of Identity Clients; every constraint has a name, by which errors are recognised."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
