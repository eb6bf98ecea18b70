"""Warnings that an edit has to confirm before it is saved, and what callers must change after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from ...core.clients.validation import ClientValues, check_token_duration
from ...core.database.models import IdentityClient, utc_now
from ...core.errors import FieldError
from ...core.i18n import gettext
from ...host import services
from ..http.access import actor

IN_USE = timedelta(days=30)
"""A client that got a token within this time has callers that an edit can stop."""


@dataclass(frozen=True, slots=True)
class EditWarning:
    """A warning about an effect of an edit that may not be intended.

    :param key: identifies the confirmed effect; another one of the same kind needs another confirmation.
    :param text: the effect as a sentence.
    :param button: the label of the button that saves all the same.
    """

    key: str
    text: str
    button: str


def edit_warnings(client: IdentityClient, values: ClientValues, *, enabled: bool) -> Sequence[EditWarning]:
    """Return the warnings about replacing the values of a client by these, the gravest first."""
    catalogue, grantable = services().catalogue, actor().grantable_roles
    before, after = (catalogue.effective(keys, grantable) for keys in (client.roles, values.roles))
    difference = catalogue.difference({role.key for role in before}, {role.key for role in after})
    warnings = []
    if money := [role for role in difference.added if role.moves_money]:
        names = ", ".join(role.name for role in money)
        warnings.append(
            EditWarning(
                " ".join(f"role:{role.key}" for role in money),
                # Translators: roles is the name of an API role, or several with commas.
                gettext("It could move money in more ways: %(roles)s.", roles=names),
                gettext("Save and let it move money"),
            )
        )
    if not client.last_token_at or client.last_token_at < utc_now() - IN_USE:
        return warnings
    if values.client_id != client.client_id:
        warnings.append(
            EditWarning(
                f"id:{values.client_id.encode().hex()}",
                gettext("It is in use. Callers with %(client_id)s are refused at once.", client_id=client.client_id),
                gettext("Save and rename it"),
            )
        )
    if difference.removed:
        names = ", ".join(role.name for role in difference.removed)
        warnings.append(
            EditWarning(
                " ".join(f"without:{role.key}" for role in difference.removed),
                gettext("It is in use, and its next token lacks: %(roles)s.", roles=names),
                gettext("Save and take roles away"),
            )
        )
    minutes = _shortened_duration(client, values)
    if minutes is not None:
        warnings.append(
            EditWarning(
                f"minutes:{minutes}",
                gettext(
                    "It is in use, and its next tokens end after %(minutes)s minutes in place of %(before)s.",
                    minutes=minutes,
                    before=client.token_duration_minutes,
                ),
                gettext("Save and shorten its tokens"),
            )
        )
    if client.enabled and not enabled:
        warnings.append(
            EditWarning(
                "disable",
                gettext("It is in use, and gets no tokens until it is enabled again."),
                gettext("Save and disable it"),
            )
        )
    return warnings


def _shortened_duration(client: IdentityClient, values: ClientValues) -> int | None:
    """Return the new token duration in minutes if it is shorter; None if it is not, or is malformed."""
    try:
        minutes = check_token_duration(values.token_duration)
    except FieldError:
        return None
    return minutes if minutes < client.token_duration_minutes else None


def what_callers_change(before: IdentityClient, after: IdentityClient) -> str:
    """Return what callers must change after an edit, a sentence for each change; empty if nothing."""
    texts = []
    if after.client_id != before.client_id:
        texts.append(gettext("Callers must send %(client_id)s as client ID from now.", client_id=after.client_id))
    catalogue = services().catalogue
    old, new = (catalogue.scopes(catalogue.effective(client.roles, None)) for client in (before, after))
    if lost := [scope for scope in old if scope not in new]:
        texts.append(gettext("Callers that ask for %(scopes)s are refused from now.", scopes=" ".join(lost)))
    if after.token_duration_minutes < before.token_duration_minutes:
        texts.append(
            gettext(
                "Callers must ask for a new token every %(minutes)s minutes from now.",
                minutes=after.token_duration_minutes,
            )
        )
    return " ".join(texts)
