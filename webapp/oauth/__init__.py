"""The identity endpoint: the blueprint `identity_clients_endpoint`, JSON only."""

from .routes import make_blueprint

__all__ = ["make_blueprint"]
