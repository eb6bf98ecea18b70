"""The identity endpoint: blueprint `identity`, JSON only."""

from .routes import make_blueprint

__all__ = ["make_blueprint"]
