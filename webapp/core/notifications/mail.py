"""Send one message by SMTP."""

import re
import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from ..database.models import NOTIFICATION_ERROR_MAX, utc_now
from .messages import Message
from .webhooks import DeliveryFailed, closed_after

EMAIL_MAX = 254
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]+\.)+[A-Za-z0-9-]+")
STEP_SECONDS = 10.0
"""How long the server may take for one response."""
TOTAL_SECONDS = 30.0


def is_email_address(text: str) -> bool:
    """Return whether a text is one e-mail address, and nothing that a mail server could take for more."""
    return len(text) <= EMAIL_MAX and _EMAIL.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class MailServer:
    """The SMTP server of the platform.

    :param security: `starttls`, `tls` from the first byte, or `none`.
    :param sender: the address in `From`, with or without a name.
    """

    host: str
    port: int
    security: str
    username: str | None
    password: str | None = field(repr=False)
    sender: str

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        """Send a message as text and HTML.

        :param message_id: the part of `Message-ID` before the `@`; the same for each attempt.
        :raises DeliveryFailed: the server is not reached, or does not accept the message.
        """
        address = parseaddr(self.sender)[1]
        domain = address.rpartition("@")[2]
        mail = EmailMessage(policy=SMTP)
        mail["From"], mail["To"], mail["Subject"] = self.sender, recipient, message.title
        mail["Date"], mail["Message-ID"] = format_datetime(utc_now()), f"<{message_id}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.as_text())
        mail.add_alternative(message.as_html(), subtype="html")
        try:
            self._send(mail, address, recipient, domain)
        except TimeoutError:
            raise DeliveryFailed("The mail server did not answer in time.") from None
        except smtplib.SMTPRecipientsRefused as error:
            raise DeliveryFailed(_answer(*next(iter(error.recipients.values())))) from None
        except smtplib.SMTPAuthenticationError as error:
            # Without the text, which may repeat what was sent.
            raise DeliveryFailed(f"The mail server refused the sign-in ({error.smtp_code}).") from None
        except smtplib.SMTPResponseException as error:
            raise DeliveryFailed(_answer(error.smtp_code, error.smtp_error)) from None
        except ssl.SSLError:
            raise DeliveryFailed("No encrypted connection to the mail server could be made.") from None
        except OSError as error:
            raise DeliveryFailed(f"The connection to the mail server failed ({type(error).__name__}).") from None

    def _send(self, mail: EmailMessage, sender: str, recipient: str, domain: str) -> None:
        context = ssl.create_default_context()
        # Without a name of its own, smtplib looks this machine's up, which may take long.
        if self.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, domain, timeout=STEP_SECONDS, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, domain, STEP_SECONDS)
        try:
            assert server.sock is not None  # noqa: S101 - the constructor has connected
            with closed_after(server.sock, TOTAL_SECONDS):
                if self.security == "starttls":
                    server.starttls(context=context)
                if self.username is not None:
                    server.login(self.username, self.password or "")
                server.send_message(mail, sender, [recipient])
        finally:
            server.close()


def _answer(code: int, text: bytes | str) -> str:
    words = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    printable = "".join(character if character.isprintable() else " " for character in words)
    return f"The mail server answered {code} {printable}"[:NOTIFICATION_ERROR_MAX]
