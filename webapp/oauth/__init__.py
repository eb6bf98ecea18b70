"""The identity endpoint: a blueprint that answers only JSON."""

from .routes import make_blueprint

__all__ = ["make_blueprint"]
