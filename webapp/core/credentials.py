"""The syntax of credentials: client IDs and secrets."""

CLIENT_ID_MIN, CLIENT_ID_MAX = 6, 100
SECRET_MIN, SECRET_MAX = 6, 100


def is_well_formed(value: str) -> bool:
    """Return whether a client ID or secret has 6-100 characters from U+0020 to U+007E (RFC 6749 appendix A.2, P6)."""
    return SECRET_MIN <= len(value) <= SECRET_MAX and value.isascii() and value.isprintable()
