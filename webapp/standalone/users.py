"""The rules of accounts and users: adding, disabling, passwords (W2, D6)."""

import re
import secrets
import unicodedata
from collections.abc import Collection

import argon2
from argon2.exceptions import VerificationError
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ..core.database.unit_of_work import read_session
from ..core.errors import FieldError
from ..core.secrets.argon2_pool import run_in_pool
from .models import EMAIL_MAX, NAME_MAX, MasAccount, MasUser

PASSWORD_MIN, PASSWORD_MAX = 12, 128
HOST_ROLES = frozenset({"MerchantAdmin", "ManageIdentityClients", "MerchantUser"})

_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+\.[^@\s\x00-\x1f\x7f]+\Z")
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)


def folded(text: str) -> str:
    """Return the normalised form in which names and e-mail addresses are compared."""
    return unicodedata.normalize("NFC", text.strip()).casefold()


def hash_password(password: str) -> str:
    """Return the argon2id hash of a new password.

    :raises FieldError: it does not have 12-128 characters (D6).
    """
    password = unicodedata.normalize("NFC", password)
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise FieldError("password", f"A password has {PASSWORD_MIN} to {PASSWORD_MAX} characters.")
    return run_in_pool(lambda: _HASHER.hash(password))


def is_password(password_hash: str, password: str) -> bool:
    """Return whether this is the hashed password, with one argon2id computation."""
    try:
        return run_in_pool(lambda: _HASHER.verify(password_hash, unicodedata.normalize("NFC", password)))
    except VerificationError:
        return False


def authenticate(user: MasUser | None, password: str) -> MasUser | None:
    """Return the user if this is the password and they may sign in, else None.

    Every attempt costs one argon2id computation (D6).

    :param user: the one with the e-mail address of the attempt, None if there is none.
    """
    if user is None:
        run_in_pool(lambda: _HASHER.hash(unicodedata.normalize("NFC", password)))
        return None
    right = is_password(user.password_hash, password)
    return user if right and may_sign_in(user) else None


def may_sign_in(user: MasUser) -> bool:
    """Return whether neither the user nor the account is disabled."""
    return user.enabled and user.account.enabled


def user_of_session(engine: Engine, session_token: str) -> MasUser | None:
    """Return the user whose sessions contain this token, None if there is none or they may not sign in."""
    with read_session(engine) as session:
        user = session.scalar(select(MasUser).where(MasUser.session_token == session_token))
    return user if user is not None and may_sign_in(user) else None


# Finding


def find_user(session: Session, email: str) -> MasUser | None:
    """Return the user with this e-mail address, ignoring case, or None."""
    if not _EMAIL.match(email.strip()):
        return None  # PostgreSQL rejects a parameter that contains a NUL
    return session.scalar(select(MasUser).where(MasUser.email_folded == folded(email)))


def find_account(session: Session, name: str) -> MasAccount | None:
    """Return the account with this name, ignoring case, or None."""
    return session.scalar(select(MasAccount).where(MasAccount.name_folded == folded(name)))


# Changing


def add_account(session: Session, name: str, *, feature_enabled: bool = False) -> MasAccount:
    """Add an account and return it.

    :raises FieldError: the name is empty, too long or taken.
    """
    name = unicodedata.normalize("NFC", name.strip())
    if not 1 <= len(name) <= NAME_MAX:
        raise FieldError("name", f"An account's name has 1 to {NAME_MAX} characters.")
    if find_account(session, name) is not None:
        raise FieldError("name", "There is an account of this name already.")
    account = MasAccount(name=name, name_folded=folded(name), feature_enabled=feature_enabled, enabled=True)
    session.add(account)
    session.flush()
    return account


def add_user(
    session: Session,
    account: MasAccount,
    *,
    email: str,
    name: str,
    roles: Collection[str],
    password_hash: str,
    known_roles: Collection[str] = HOST_ROLES,
) -> MasUser:
    """Add a user to an account and return it.

    :param password_hash: a hash by `hash_password`.
    :param known_roles: the role keys that a user may have.
    :raises FieldError: the e-mail address is invalid or taken, the name is invalid, or a role is unknown.
    """
    email, name = email.strip(), unicodedata.normalize("NFC", name.strip())
    if not _EMAIL.match(email) or len(email) > EMAIL_MAX:
        raise FieldError("email", "Give an e-mail address, such as hannah@company.example.")
    if find_user(session, email) is not None:
        raise FieldError("email", "There is a user with this e-mail address already.")
    if not 1 <= len(name) <= NAME_MAX:
        raise FieldError("name", f"A user's name has 1 to {NAME_MAX} characters.")
    if not roles or not set(roles) <= set(known_roles):
        raise FieldError("roles", f"Give at least one role of these: {', '.join(sorted(known_roles))}.")
    user = MasUser(
        account=account,
        email=email,
        email_folded=folded(email),
        name=name,
        roles=frozenset(roles),
        password_hash=password_hash,
        session_token=_new_session_token(),
        enabled=True,
    )
    session.add(user)
    session.flush()
    return user


def end_sessions(user: MasUser) -> None:
    """End all sessions of the user, with effect on the next request (W2)."""
    user.session_token = _new_session_token()


def set_password(user: MasUser, password_hash: str) -> None:
    """Replace the user's password, and end their sessions."""
    user.password_hash = password_hash
    end_sessions(user)


def set_user_enabled(user: MasUser, enabled: bool) -> None:
    """Enable or disable the user, and end their sessions."""
    user.enabled = enabled
    end_sessions(user)


def set_account_enabled(session: Session, account: MasAccount, enabled: bool) -> None:
    """Enable or disable the account, and end the sessions of its users."""
    account.enabled = enabled
    for user in session.scalars(select(MasUser).where(MasUser.account_id == account.id)):
        end_sessions(user)


def _new_session_token() -> str:
    return secrets.token_urlsafe(32)
