"""The syntax of credentials."""

from .database.models import SECRET_MAX, SECRET_MIN


def is_well_formed(value: str, least: int = SECRET_MIN, most: int = SECRET_MAX) -> bool:
    """Tell whether a value has 6-100 characters from U+0020 to U+007E (P6, RFC 6749 appendix A.2)."""
    return least <= len(value) <= most and value.isascii() and value.isprintable()
