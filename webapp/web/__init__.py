"""The screens: blueprint `identity_clients`, pages and the fragments that htmx swaps."""

from .routes import make_blueprint

__all__ = ["make_blueprint"]
