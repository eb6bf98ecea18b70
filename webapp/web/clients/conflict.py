"""Answer a stale edit: show both values of each field that differs, and a choice between them (I7)."""

import json
import unicodedata
from dataclasses import dataclass
from typing import Any

from flask import Response

from ...core.clients.roles import ApiRole
from ...core.database.models import IdentityClient
from ...host import services
from ..http.access import actor
from ..http.forms import normalise_line_breaks
from ..http.htmx import render
from .forms import EditForm, edit_data, join_tags

FIELDS = ("client_id", "name", "description", "token_duration", "roles", "owner", "tags", "enabled")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two values of a field.

    :param value: the value as the Edit form posts it.
    :param added: the API roles that this side added.
    :param removed: the API roles that this side removed.
    """

    value: str
    added: tuple[ApiRole, ...] = ()
    removed: tuple[ApiRole, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs.

    :param keep_mine: whether the person who sees the page changed the field; then their value is preselected.
    """

    name: str
    label: str
    mine: Side
    theirs: Side
    keep_mine: bool


def show_conflict(form: EditForm, current: IdentityClient) -> Response:
    """Return the 409 of a stale edit; saving the choices is an ordinary edit of the newest version.

    :param form: the form as it was posted.
    :param current: the client as it is stored now.
    """
    stored = edit_data(current, actor().grantable_roles)
    mine, theirs = _typed(form), {name: stored[name] for name in FIELDS}
    before = _before(form) or theirs
    differences = [
        Difference(
            name,
            form[name].label.text,
            _side(name, mine[name], before[name]),
            _side(name, theirs[name], before[name]),
            keep_mine=mine[name] != before[name],
        )
        for name in FIELDS
        if mine[name] != theirs[name]
    ]
    same = {name: _side(name, mine[name], mine[name]).value for name in FIELDS if mine[name] == theirs[name]}
    return render(
        "clients/conflict.html",
        "clients/_conflict_form.html",
        status=409,
        client=current,
        form=EditForm(
            formdata=None,
            secret_warning=form.secret_warning.data,
            client_id_warning=form.client_id_warning.data,
            **stored,
        ),
        secret_typed=bool(form.secret),
        differences=differences,
        same=same,
        same_labels=[form[name].label.text for name in same],
    )


def _typed(form: EditForm) -> dict[str, Any]:
    """Return the posted values in the form in which they would be stored."""
    values = form.values()
    return {
        "client_id": values.client_id,
        "name": unicodedata.normalize("NFC", values.name.strip()),
        "description": unicodedata.normalize("NFC", normalise_line_breaks(values.description).strip()),
        "token_duration": values.token_duration,
        "roles": sorted(values.roles),
        "owner": unicodedata.normalize("NFC", values.owner.strip()),
        "tags": join_tags({unicodedata.normalize("NFC", tag.strip()).lower() for tag in values.tags} - {""}),
        "enabled": form.enabled.data,
    }


def _before(form: EditForm) -> dict[str, Any]:
    """Return the values that the form was filled with, empty where they are missing or malformed."""
    try:
        before = json.loads(form.base.data or "")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(before, dict) or set(before) != set(FIELDS) or not isinstance(before["roles"], list):
        return {}
    return {**before, "roles": sorted(str(role) for role in before["roles"])}


def _side(name: str, value: Any, before: Any) -> Side:
    if name == "enabled":
        return Side("y" if value else "")
    if name == "roles":
        difference = services().catalogue.difference(before, value)
        return Side(" ".join(value), difference.added, difference.removed)
    return Side(value)
