"""Describe the changes of an audit event as text.

Events outlive the code that wrote them, so an unknown field or value is shown as it is stored.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ...core.clients.roles import ApiRole, RoleCatalogue
from ...core.database.models import SecretState
from ...core.i18n import gettext, lazy_gettext, ngettext
from ..i18n.times import Times


class Item(NamedTuple):
    """A value that was added to a set or removed from it."""

    text: str
    moves_money: bool = False
    manages_clients: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one field.

    :param label: the field; empty where the sentence of the event names it.
    :param before: the value before, None if there was none.
    :param after: the value after.
    :param added: the values added to a set.
    :param removed: the values removed from a set.
    :param sides: all roles before and all after; None of roles that a client began with.
    """

    label: str = ""
    before: str | None = None
    after: str | None = None
    added: tuple[Item, ...] = ()
    removed: tuple[Item, ...] = ()
    sides: tuple[tuple[Item, ...], tuple[Item, ...]] | None = None


LABELS: Mapping[str, str] = {
    "client_id": lazy_gettext("Client ID"),
    "name": lazy_gettext("Client name"),
    "description": lazy_gettext("Description"),
    "token_duration_minutes": lazy_gettext("Token duration"),
    "roles": lazy_gettext("Roles"),
    "owner": lazy_gettext("Owner"),
    "tags": lazy_gettext("Tags"),
    "enabled": lazy_gettext("Status"),
    "allowed_networks": lazy_gettext("Allowed addresses"),
    "client_secret": lazy_gettext("Client secret"),
    "public_key": lazy_gettext("Public key"),
    "thumbprint": lazy_gettext("Thumbprint"),
    "algorithm": lazy_gettext("Algorithm"),
    "ends_at": lazy_gettext("End date"),
    # Translators: what an access review found, and what was done about it.
    "found": lazy_gettext("Found"),
    "done": lazy_gettext("Action taken"),
    "reviewed_roles": lazy_gettext("Reviewed roles"),
    "reviewed_secrets": lazy_gettext("Reviewed secrets and keys"),
}
"""The fields of a client in audit events, in the order of the screens."""
_CREDENTIALS = frozenset({"client_secret", "public_key"})
"""The fields that hold states by label."""
_STATES: Mapping[str, str] = {
    # Translators: the state of a secret or key, as are the next ones.
    SecretState.CURRENT: lazy_gettext("current"),
    SecretState.ENDING: lazy_gettext("ending"),
    SecretState.PAUSED: lazy_gettext("paused"),
    SecretState.ENDED: lazy_gettext("ended"),
}


def changes_of(
    stored: Mapping[str, Any], *, times: Times, catalogue: RoleCatalogue, labelled: bool = True
) -> tuple[Change, ...]:
    """Return the changes of an event in the order of the screens, unknown fields last.

    :param stored: `[before, after]` of each field.
    :param labelled: give each change the label of its field; secrets always have one.
    """
    found: list[Change] = []
    for name in [*(name for name in LABELS if name in stored), *(name for name in stored if name not in LABELS)]:
        if name == "ends_at" and not _CREDENTIALS.isdisjoint(stored):
            continue
        pair = stored[name]
        if name in _CREDENTIALS and _is_pair_of_states(pair):
            found.extend(_secrets(name, pair, stored.get("ends_at"), times))
            continue
        label = str(LABELS.get(name, name)) if labelled else ""
        if name in ("reviewed_roles", "reviewed_secrets") and isinstance(pair, list) and len(pair) == 2:
            found.append(Change(label, after=format_field(name, pair[1], times=times, catalogue=catalogue)))
        elif not isinstance(pair, list) or len(pair) != 2:
            found.append(Change(label, after=to_text(pair)))
        elif pair[0] is not None or pair[1] not in (None, "", []):
            found.append(_change(name, label, pair, catalogue))
    return tuple(found)


def format_field(name: str, value: Any, *, times: Times, catalogue: RoleCatalogue) -> str:
    """Return the whole value of a field as text, empty for None; each API role with its key."""
    if value is None:
        return ""
    if name in ("roles", "reviewed_roles") and _is_list_of_text(value):
        return "; ".join(f"{catalogue[key].name} ({key})" if key in catalogue else key for key in value)
    if name in ("allowed_networks", "tags") and _is_list_of_text(value):
        return "; ".join(value)
    if (name in _CREDENTIALS or name == "reviewed_secrets") and isinstance(value, dict):
        return "; ".join(f"{label}: {_state(to_text(state))}" for label, state in value.items())
    if name == "ends_at" and isinstance(value, dict):
        return "; ".join(f"{label}: {_end(end, times)}" for label, end in value.items())
    return _FORMATS.get(name, to_text)(value) or ""


def to_text(value: Any) -> str | None:
    """Return a stored value as text, None for None."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _change(name: str, label: str, pair: list[Any], catalogue: RoleCatalogue) -> Change:
    if name in ("roles", "allowed_networks", "tags") and all(map(_is_list_of_text, pair)):
        before, after = (set(side or ()) for side in pair)
        if name == "roles":
            difference = catalogue.difference(before, after)
            added, removed = map(_role_items, (difference.added, difference.removed))
            if pair[0] is not None:
                all_before, all_after = (_role_items(catalogue.difference((), side).added) for side in (before, after))
                return Change(label, added=added, removed=removed, sides=(all_before, all_after))
        else:
            added, removed = map(_items, (after - before, before - after))
        return Change(label, added=added, removed=removed)
    format_value = _FORMATS.get(name, to_text)
    return Change(label, format_value(pair[0]), format_value(pair[1]))


def _role_items(roles: Iterable[ApiRole]) -> tuple[Item, ...]:
    return tuple(Item(role.name, role.moves_money, role.manages_clients) for role in roles)


def _items(values: Iterable[str]) -> tuple[Item, ...]:
    return tuple(map(Item, sorted(values)))


def _is_list_of_text(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _text(value: Any) -> str | None:
    # Translators: no value, such as an empty description.
    return gettext("none") if value == "" else to_text(value)


def _minutes(value: Any) -> str | None:
    return ngettext("%(number)s minute", "%(number)s minutes", value) if type(value) is int else to_text(value)


def _switch(value: Any) -> str | None:
    return to_text(value) if type(value) is not bool else gettext("Enabled") if value else gettext("Disabled")


_FORMATS: Mapping[str, Callable[[Any], str | None]] = {
    "name": _text,
    "description": _text,
    "owner": _text,
    "token_duration_minutes": _minutes,
    "enabled": _switch,
}


# Secrets and keys: states by label, and end dates


def _is_pair_of_states(pair: Any) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and all(
            side is None or (isinstance(side, dict) and all(isinstance(state, str) for state in side.values()))
            for side in pair
        )
    )


def _secrets(field: str, pair: list[Any], ends_at: Any, times: Times) -> Iterator[Change]:
    before, after = (side or {} for side in pair)
    ends_before, ends_after = ends_at if _is_pair_of_ends(ends_at) else ({}, {})
    for label in sorted({**before, **after}, key=lambda label: (len(label), label)):
        if field == "public_key":
            # Translators: label is the number of a key: 1, 2, 3.
            name = gettext("Key %(label)s", label=label)
        else:
            # Translators: label is the letter of a secret: A, B, C.
            name = gettext("Secret %(label)s", label=label)
        if label not in before:
            # Translators: a secret or key was created.
            yield Change(name, after=gettext("created"))
        elif label in ends_after:
            yield Change(name, _end(ends_before.get(label), times), _end(ends_after[label], times))
        elif before[label] != after.get(label):
            yield Change(name, _state(before[label]), _state(after.get(label)))


def _is_pair_of_ends(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(side, dict) for side in pair)


def _state(state: str | None) -> str | None:
    return None if state is None else str(_STATES.get(state, state))


def _end(text: Any, times: Times) -> str | None:
    if text is None:
        return gettext("no end date")
    try:
        at = datetime.fromisoformat(text)
        # Translators: a secret ends at this time.
        return gettext("ends %(time)s", time=times.long(at)) if at.tzinfo else to_text(text)
    except (TypeError, ValueError, OverflowError):
        return to_text(text)
