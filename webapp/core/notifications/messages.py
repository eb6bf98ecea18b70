"""What a message says: as text and HTML for e-mail, and as JSON for webhooks. None holds a secret (L4)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime

from ..clients.attention import AttentionReason
from ..database.models import Notification
from ..secrets.client_secrets import is_key_label
from .kinds import CHECKPOINT, TEST, EventKind, attention_reason

# E-mails are in English: they are written without a request, whose language would be known.
_LOCALE = Locale("en", "GB")


@dataclass(frozen=True, slots=True)
class Message:
    """An e-mail.

    :param title: the subject.
    :param sentences: the paragraphs.
    :param url: the page to look at.
    :param link: the text of the link to it.
    :param footer: why the reader gets it.
    """

    title: str
    sentences: tuple[str, ...]
    url: str
    link: str
    footer: str

    def as_text(self) -> str:
        """Return the plain text."""
        return "\n\n".join([self.title, *self.sentences, f"{self.link}: {self.url}", f"--\n{self.footer}"]) + "\n"

    def as_html(self) -> str:
        """Return the HTML, which loads nothing from elsewhere."""
        paragraphs = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in self.sentences)
        return (
            '<!DOCTYPE html>\n<html lang="en-GB">\n<head><meta charset="utf-8">'
            f"<title>{escape(self.title)}</title></head>\n"
            '<body style="margin:24px;max-width:40em;font:16px/1.5 sans-serif;color:#14212a;background:#fff">\n'
            f'<h1 style="font-size:20px">{escape(self.title)}</h1>\n{paragraphs}'
            f'<p><a href="{escape(self.url)}" style="color:#0b5a78">{escape(self.link)}</a></p>\n'
            f'<p style="font-size:13px;color:#4d5c66">{escape(self.footer)}</p>\n</body>\n</html>\n'
        )


class MessageTexts:
    """Describes notifications.

    :param platform: the name of the platform.
    :param screens_url: the URL of the screens, without a slash at the end.
    :param zone: the name of the time zone in which e-mails give times.
    """

    def __init__(self, *, platform: str, screens_url: str, zone: str) -> None:
        self._platform = platform
        self._screens_url = screens_url
        self._zone: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)

    def email(self, notification: Notification) -> Message:
        """Return a notification as an e-mail."""
        title, sentences = self._describe(notification)
        return Message(
            title,
            sentences,
            self._url(notification),
            self._link(notification),
            f"You get this because {self._platform} notifies this address of its identity clients. "
            "An administrator of the account can change that under Identity Clients, Notifications.",
        )

    def payload(self, notification: Notification) -> str:
        """Return a notification as the JSON of a webhook: `type`, `timestamp` and `data` (Standard Webhooks)."""
        client = None
        if notification.client_key is not None:
            client = {
                "id": str(notification.client_key),
                "client_id": notification.client_id,
                "url": self._url(notification),
            }
        return json.dumps(
            {
                "type": notification.kind,
                "timestamp": notification.created_at.isoformat().replace("+00:00", "Z"),
                "data": {"account_id": notification.account_id, "client": client, **notification.facts},
            },
            separators=(",", ":"),
        )

    def _link(self, notification: Notification) -> str:
        if notification.kind == CHECKPOINT:
            return "Open the activity"
        return "Open the client" if notification.client_key else "Open the notifications"

    def _url(self, notification: Notification) -> str:
        if notification.kind == CHECKPOINT:
            return f"{self._screens_url}/activity"
        if notification.client_key is None:
            return f"{self._screens_url}/notifications"
        if notification.kind == EventKind.DELETED:
            return f"{self._screens_url}/{notification.client_key}/activity"
        return f"{self._screens_url}/{notification.client_key}"

    def _describe(self, notification: Notification) -> tuple[str, tuple[str, ...]]:
        client, facts = notification.client_id or "", notification.facts
        reason = attention_reason(notification.kind)
        if reason is not None:
            return self._attention(reason, client, facts)
        by = f"{facts.get('actor')} did this on {self._time(facts.get('at'))}."
        match notification.kind:
            case EventKind.CREATED:
                return f"Identity client {client} was created", (by,)
            case EventKind.DELETED:
                return f"Identity client {client} was deleted", (by, "It gets no new tokens.")
            case EventKind.SECRET_CHANGED:
                return f"The secret of {client} was changed", (
                    by,
                    "If the systems that use this client do not have the new secret yet, they will be refused"
                    " when the old one ends.",
                )
            case EventKind.SECRET_LEAKED:
                return f"The secret of {client} leaked and was replaced", (
                    by,
                    "The old secrets have ended, and all tokens are revoked: systems that use this client are refused"
                    " until they have the new secret.",
                )
            case EventKind.KEY_ADDED:
                return f"{client} got a public key", (by, "It can get tokens with the private key.")
            case EventKind.MONEY_ROLE_ADDED:
                names = ", ".join(role["name"] for role in facts.get("roles", ()))
                return f"{client} was given roles that move money", (by, f"Roles: {names}.")
            case kind if kind == CHECKPOINT:
                return f"Checkpoint of the activity, position {facts.get('position')}", (
                    f"It was signed on {self._time(facts.get('at'))}. Keep it where {self._platform} cannot change it:"
                    " it proves the events up to this position.",
                    str(facts.get("checkpoint")),
                )
            case kind if kind == TEST:
                return f"A test message of {self._platform}", (
                    f"{facts.get('actor')} sent this on {self._time(facts.get('at'))}. Messages reach this address.",
                )
        return f"{client}: {notification.kind}", (by,)

    def _attention(self, reason: AttentionReason, client: str, facts: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        label, at, days = str(facts.get("secret", "")), self._time(facts.get("since")), facts.get("days", 0)
        kind = "key" if is_key_label(label) else "secret"
        match reason:
            case AttentionReason.ENDING:
                within = "1 day" if days == 1 else f"{days} days"
                return f"A {kind} of {client} ends within {within}", (
                    f"{kind.capitalize()} {label} ends on {at}. Requests with it are refused from then on.",
                    "Replace it before, so that the systems that use this client can change over.",
                )
            case AttentionReason.SECRET:
                return f"{client} moves money and has a secret", (
                    "The settings of the account forbid secrets to clients that move money.",
                    "Give it a key, let the systems that use it change over, and end the secret.",
                )
            case AttentionReason.REFUSED:
                return f"Many token requests of {client} are refused", (
                    f"Of {facts.get('requests')} requests of today and yesterday, {facts.get('refused')} were refused.",
                    "The reasons are on the page of the client, under Token requests.",
                )
            case AttentionReason.UNUSED:
                return f"{client} was never used", (
                    f"It was created on {at}, and has never got a token.",
                    "If no system needs this client, disable it.",
                )
            case AttentionReason.IDLE:
                return f"{client} has not been used for {days} days", (
                    f"It got its last token on {at}.",
                    "If no system needs this client any more, disable it.",
                )
            case AttentionReason.OLD:
                return f"A {kind} of {client} is {days} days old", (
                    f"{kind.capitalize()} {label} was created on {at}.",
                    "Replace it: the old one can go on working while callers move over.",
                )
            case AttentionReason.TWO:
                return f"{client} has had two secrets for {days} days", (
                    f"Both have worked since {at}.",
                    "End the one that no caller uses.",
                )
            case AttentionReason.OVERDUE:
                return f"The access review of {client} is overdue", (
                    f"Nobody has reviewed its access since {at}.",
                    "Review it on the page Access review, and keep or disable it.",
                )
        return f"{client} needs attention", ("Its page says why.",)

    def _time(self, text: Any) -> str:
        if not isinstance(text, str):
            return "an unknown day"
        at = datetime.fromisoformat(text).astimezone(self._zone)
        return format_datetime(at, "d MMMM y, HH:mm z", locale=_LOCALE)
