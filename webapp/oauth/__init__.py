"""The identity endpoint: the blueprint `identity_clients_endpoint`, JSON only."""

from .routes import make_blueprint
from .trial import try_token

__all__ = ["make_blueprint", "try_token"]
