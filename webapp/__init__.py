"""Identity clients: machine credentials for a Flask portal, and the endpoint that turns them into tokens."""

from .core.audit import signals
from .core.audit.before_change import Change
from .core.clients.roles import MANAGEMENT_ROLE, ApiRole
from .core.errors import FieldError
from .extension import IdentityClients
from .host import Actor
from .settings import SettingsError

__all__ = [
    "MANAGEMENT_ROLE",
    "Actor",
    "ApiRole",
    "Change",
    "FieldError",
    "IdentityClients",
    "SettingsError",
    "signals",
]
