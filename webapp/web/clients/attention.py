"""Texts of the screens on why clients need attention."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ...core.clients.attention import ANY, Attention, AttentionReason
from ...core.clients.attention_queries import Summary
from ...core.database.models import utc_now
from ...core.i18n import format_number, gettext, lazy_gettext, ngettext
from ..i18n.credential_names import credential_title

FILTER_LABELS: Mapping[str, str] = {
    "": lazy_gettext("All clients"),
    ANY: lazy_gettext("Needs attention"),
    AttentionReason.ENDING: lazy_gettext("Secret or key ends soon"),
    AttentionReason.SECRET: lazy_gettext("Moves money with a secret"),
    AttentionReason.REFUSED: lazy_gettext("Many requests refused"),
    AttentionReason.UNUSED: lazy_gettext("Never used"),
    AttentionReason.IDLE: lazy_gettext("Not used for 90 days"),
    AttentionReason.OLD: lazy_gettext("Secret or key older than a year"),
    AttentionReason.TWO: lazy_gettext("Two secrets in use"),
    AttentionReason.OVERDUE: lazy_gettext("Review overdue"),
}
"""The labels of the list's filter by its values."""


class StripLink(NamedTuple):
    """One part of the strip above the list, a link to the clients that it counts.

    :param view: the view that it opens, `list` or `review`.
    :param arguments: of its URL.
    """

    text: str
    view: str
    arguments: Mapping[str, Any]


def strip_links(summary: Summary) -> list[StripLink]:
    """Return the parts of the strip of an account, the most urgent first."""
    return [
        StripLink(_strip_text(reason, summary), "review", {})
        if reason is AttentionReason.OVERDUE
        else StripLink(_strip_text(reason, summary), "list", {"attention": reason})
        for reason in AttentionReason
        if reason in summary.by_reason
    ]


def _strip_text(reason: AttentionReason, summary: Summary) -> str:
    count = summary.by_reason[reason]
    number = format_capped(count, has_more=reason in summary.more)
    match reason:
        case AttentionReason.ENDING:
            return _ending_text(summary)
        case AttentionReason.SECRET:
            return ngettext(
                "%(number)s client moves money with a secret",
                "%(number)s clients move money with a secret",
                count,
                number=number,
            )
        case AttentionReason.REFUSED:
            return ngettext(
                "%(number)s client with many requests refused",
                "%(number)s clients with many requests refused",
                count,
                number=number,
            )
        case AttentionReason.UNUSED:
            return ngettext("%(number)s client never used", "%(number)s clients never used", count, number=number)
        case AttentionReason.IDLE:
            return ngettext(
                "%(number)s client not used for 90 days",
                "%(number)s clients not used for 90 days",
                count,
                number=number,
            )
        case AttentionReason.OLD:
            return ngettext(
                "%(number)s client with a secret or key older than a year",
                "%(number)s clients with a secret or key older than a year",
                count,
                number=number,
            )
        case AttentionReason.TWO:
            return ngettext(
                "%(number)s client with two secrets in use",
                "%(number)s clients with two secrets in use",
                count,
                number=number,
            )
        case AttentionReason.OVERDUE:
            return ngettext(
                "%(number)s client overdue for review",
                "%(number)s clients overdue for review",
                count,
                number=number,
            )


def _ending_text(summary: Summary) -> str:
    days = -((utc_now() - summary.first_end_at).days) if summary.first_end_at else 0
    time = ngettext("%(number)s day", "%(number)s days", days)
    number = format_capped(summary.ending, has_more=AttentionReason.ENDING in summary.more)
    if summary.keys_end:
        return ngettext(
            "%(number)s key expires soon, in %(time)s",
            "%(number)s secrets or keys expire soon, the first in %(time)s",
            summary.ending,
            number=number,
            time=time,
        )
    return ngettext(
        "%(number)s secret expires soon, in %(time)s",
        "%(number)s secrets expire soon, the first in %(time)s",
        summary.ending,
        number=number,
        time=time,
    )


def format_capped(count: int, *, has_more: bool) -> str:
    """Return a number as the screens show it: "10,000+" where there are more than were counted."""
    number = format_number(count)
    # Translators: more than so many, since counting stops there.
    return gettext("%(number)s+", number=number) if has_more else number


def attention_mark(one: Attention) -> str:
    """Return the short text of one reason for a row of the list."""
    match one.reason:
        case AttentionReason.ENDING:
            return ngettext(
                "%(name)s ends within %(number)s day",
                "%(name)s ends in %(number)s days",
                one.days,
                name=credential_title(one.secret_label or ""),
            )
        case AttentionReason.SECRET:
            return gettext("Moves money with a secret")
        case AttentionReason.REFUSED:
            refused, requests = format_number(one.refused), format_number(one.requests)
            # Translators: both are numbers.
            return gettext("%(refused)s of %(requests)s requests refused", refused=refused, requests=requests)
        case AttentionReason.UNUSED:
            return gettext("Never used")
        case AttentionReason.IDLE:
            return ngettext("Idle for %(number)s day", "Idle for %(number)s days", one.days)
        case AttentionReason.OLD:
            return ngettext(
                "%(name)s is %(number)s day old",
                "%(name)s is %(number)s days old",
                one.days,
                name=credential_title(one.secret_label or ""),
            )
        case AttentionReason.TWO:
            return ngettext("Two secrets for %(number)s day", "Two secrets for %(number)s days", one.days)
        case AttentionReason.OVERDUE:
            return gettext("Review overdue")


class Advice(NamedTuple):
    """The text of one reason, and advice on it, which is empty where a link says all.

    :param secret_label: the label of the secret or key that it is about; None if it is about none.
    """

    reason: AttentionReason
    text: str
    advice: str
    secret_label: str | None


_ADVICE: Mapping[AttentionReason, str] = {
    AttentionReason.SECRET: lazy_gettext("Add a key, let callers move over, then end the secret."),
    AttentionReason.REFUSED: "",
    AttentionReason.UNUSED: lazy_gettext("If no system needs this client, disable it."),
    AttentionReason.IDLE: lazy_gettext("If no system needs this client any more, disable it."),
    AttentionReason.OLD: lazy_gettext("Change the secret, or add a key: the old one works on while callers move over."),
    AttentionReason.TWO: lazy_gettext("End the one that no caller uses."),
    AttentionReason.OVERDUE: lazy_gettext("Say in the access review whether it still needs its roles."),
}


def attention_advice(reasons: Iterable[Attention]) -> list[Advice]:
    """Return text and advice of each reason but ENDING, for which the page of a client has a section of its own."""
    return [
        # Translators: words is a text without a full stop, which becomes a sentence.
        Advice(one.reason, gettext("%(words)s.", words=attention_mark(one)), _ADVICE[one.reason], one.secret_label)
        for one in reasons
        if one.reason in _ADVICE
    ]
