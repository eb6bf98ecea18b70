"""Connections are encrypted, and the certificate must be that of the name."""

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine

from tests.support.factories import make_client
from tests.support.notifications import make_delivery, make_target, messages, notifying
from tests.support.receivers import receive_mail, receive_webhooks
from webapp.core.notifications.kinds import EventKind
from webapp.core.notifications.mail import MailServer

CREATED = [EventKind.CREATED]


@pytest.fixture
def server_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Return the TLS context of a server `hooks.example` and `127.0.0.1`, which this machine trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("hooks.example"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return context


@pytest.mark.parametrize(
    ("name", "error"),
    [("hooks.example", None), ("other.example", "The certificate is not valid: ")],
)
def test_a_webhook_needs_a_certificate_of_its_name(
    sqlite_engine: Engine,
    server_context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    error: str | None,
) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **options: real("127.0.0.1" if host == name else host, *rest, **options),
    )
    with receive_webhooks(context=server_context) as hooks:
        make_target(sqlite_engine, f"https://{name}:{hooks.port}/", CREATED)
        make_client(notifying(sqlite_engine))
        make_delivery(sqlite_engine).deliver_due()
    [message] = messages(sqlite_engine)
    if error is None:
        assert len(hooks.requests) == 1
        assert message.last_error is None
    else:
        assert hooks.requests == []
        assert (message.last_error or "").startswith(error)


class _Authenticator:
    """Accepts one password, only after STARTTLS."""

    def __call__(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (b"mas", b"canary-password"), handled=False)


@pytest.mark.parametrize("password", ["canary-password", "another"])
def test_the_sign_in_at_the_mail_server_is_encrypted(
    sqlite_engine: Engine, server_context: ssl.SSLContext, password: str
) -> None:
    """An error of the sign-in contains no password (L4)."""
    with receive_mail(
        tls_context=server_context, authenticator=_Authenticator(), auth_required=True, require_starttls=True
    ) as mailbox:
        server = MailServer("127.0.0.1", mailbox.port, "starttls", "mas", password, "no-reply@vitesse.example")
        assert password not in repr(server)
        make_target(sqlite_engine, kinds=CREATED)
        make_client(notifying(sqlite_engine))
        outcome = make_delivery(sqlite_engine, mail=server).deliver_due()
    [message] = messages(sqlite_engine)
    if password == "canary-password":
        assert outcome == (1, 0)
        assert len(mailbox.mails) == 1
    else:
        assert outcome == (0, 1)
        assert message.last_error == "The mail server refused the sign-in (535)."


def test_a_mail_server_that_offers_no_encryption_gets_nothing(sqlite_engine: Engine) -> None:
    with receive_mail() as mailbox:
        server = MailServer("127.0.0.1", mailbox.port, "starttls", None, None, "no-reply@vitesse.example")
        make_target(sqlite_engine, kinds=CREATED)
        make_client(notifying(sqlite_engine))
        assert make_delivery(sqlite_engine, mail=server).deliver_due() == (0, 1)
    assert mailbox.mails == []
