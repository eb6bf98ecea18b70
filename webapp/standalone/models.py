"""The tables of the stand-alone application: accounts and users."""

from datetime import datetime

from sqlalchemy import ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ..core.database import models as core
from ..core.database.types import StringSet, UtcDateTime

NAME_MAX = 100
EMAIL_MAX = 200


class Base(DeclarativeBase):
    """The base class of these tables, whose names begin with `mas_`."""

    metadata = MetaData(naming_convention=core.Base.metadata.naming_convention)


class MasAccount(Base):
    """A merchant."""

    __tablename__ = "mas_accounts"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(core.new_id()))
    name: Mapped[str] = mapped_column(String(NAME_MAX))
    name_folded: Mapped[str] = mapped_column(String(NAME_MAX * 3), unique=True)
    enabled: Mapped[bool] = mapped_column(default=True)
    """A disabled account's users cannot sign in, and its clients get no tokens."""
    feature_enabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=core.utc_now)

    @property
    def identity_clients_enabled(self) -> bool:
        """Whether the account is enabled and has the feature."""
        return self.enabled and self.feature_enabled


class MasUser(Base):
    """A user of one account."""

    __tablename__ = "mas_users"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=lambda: str(core.new_id()))
    account_id: Mapped[str] = mapped_column(ForeignKey(MasAccount.id), index=True)
    email: Mapped[str] = mapped_column(String(EMAIL_MAX))
    email_folded: Mapped[str] = mapped_column(String(EMAIL_MAX * 3), unique=True)
    name: Mapped[str] = mapped_column(String(NAME_MAX))
    roles: Mapped[frozenset[str]] = mapped_column(StringSet)
    password_hash: Mapped[str] = mapped_column(String(200))
    session_token: Mapped[str] = mapped_column(String(64), unique=True)
    """The value that sessions contain in place of the key; replacing it ends all sessions of the user (W2)."""
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=core.utc_now)

    account: Mapped[MasAccount] = relationship(lazy="joined", innerjoin=True)
