"""Name secrets and keys on the screens."""

from ...core.i18n import gettext
from ...core.secrets.client_secrets import is_key_label


def credential_name(label: str) -> str:
    """Return "secret A" or "key 1", for within a sentence."""
    if is_key_label(label):
        # Translators: label is the number of a key; within a sentence.
        return gettext("key %(label)s", label=label)
    # Translators: label is the letter of a secret; within a sentence.
    return gettext("secret %(label)s", label=label)


def credential_title(label: str) -> str:
    """Return "Secret A" or "Key 1", for the beginning of a sentence."""
    if is_key_label(label):
        # Translators: label is the number of a key: 1, 2, 3.
        return gettext("Key %(label)s", label=label)
    # Translators: label is the letter of a secret: A, B, C.
    return gettext("Secret %(label)s", label=label)
