"""The management API: the blueprint `identity_clients_api`, JSON only, for clients with the scopes of the API."""

from .routes import make_blueprint

__all__ = ["make_blueprint"]
