"""Hypothesis strategies."""

import base64
import json
import uuid

from hypothesis import strategies as st


def cursor_of(value: object) -> str:
    """Return a value encoded as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


hostile = st.text(st.characters(exclude_categories=()), max_size=220) | st.sampled_from(
    [
        "enabled",
        "MerchantUser",
        "-name",
        "%",
        "_",
        "\\",
        "'",
        "client",
        cursor_of(["client_id", "a", uuid.UUID(int=1).hex]),
    ]
)
