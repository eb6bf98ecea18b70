"""Make the secrets that sign webhook messages, and encrypt them for the database."""

import base64
import os
import uuid
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..secrets.generation import Secret

SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64 bytes."""
_PREFIX = "whsec_"
_NONCE_BYTES = 12


class UndecryptableSecret(Exception):
    """None of the encryption keys decrypts a stored secret."""


def generate_webhook_secret() -> Secret:
    """Return a new random secret in the form of Standard Webhooks."""
    return Secret(_PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode())


class WebhookSecretStorage:
    """Encrypts secrets with AES-256-GCM, with the ID of the target as associated data.

    :param encryption_keys: 32 bytes each. The first one encrypts, all of them decrypt.
    """

    def __init__(self, encryption_keys: Sequence[bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in encryption_keys]

    def encrypt(self, secret: Secret, target_id: uuid.UUID) -> bytes:
        """Return a nonce and the encrypted secret."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, secret.reveal().encode(), target_id.bytes)

    def decrypt(self, encrypted: bytes, target_id: uuid.UUID) -> Secret:
        """Return the secret.

        :raises UndecryptableSecret: none of the keys decrypts it.
        """
        return self._decrypt(encrypted, target_id)[0]

    def renew(self, encrypted: bytes, target_id: uuid.UUID) -> bytes | None:
        """Return the secret encrypted with the first key, None if it already is.

        :raises UndecryptableSecret: none of the keys decrypts it.
        """
        secret, number = self._decrypt(encrypted, target_id)
        return self.encrypt(secret, target_id) if number else None

    def _decrypt(self, encrypted: bytes, target_id: uuid.UUID) -> tuple[Secret, int]:
        nonce, text = encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:]
        for number, cipher in enumerate(self._ciphers):
            try:
                return Secret(cipher.decrypt(nonce, text, target_id.bytes).decode()), number
            except InvalidTag:
                continue
        raise UndecryptableSecret
