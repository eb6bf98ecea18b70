"""The schemas of clients: the arguments of the list, the client that is read, and the bodies that are sent."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ConfigDict, Field

from ..core.clients import attention
from ..core.clients.attention import FILTERS, Attention
from ..core.clients.listing import DEFAULT_SORT, MOVES_MONEY, SEARCH_MAX, SORTS, STATUSES
from ..core.clients.validation import TOKEN_DURATION_DEFAULT_MINUTES
from ..core.database.models import OWNER_MAX, TAG_MAX, IdentityClient
from .paging import PageArguments
from .schemas import (
    PUBLIC_KEY_FORMS,
    TEXT_PATTERN,
    ChosenSecret,
    ClientId,
    ClientName,
    CreatedOutput,
    Description,
    EndOfSecret,
    Input,
    Output,
    Owner,
    PublicKey,
    RoleKeys,
    Tags,
    TokenDuration,
    choice,
)


class ListArguments(PageArguments):
    """Search, filters and order of the list."""

    q: str = Field(
        default="",
        max_length=SEARCH_MAX,
        pattern=TEXT_PATTERN,
        description="A part of the client ID, the name, the description, the owner or a tag, in any letter case.",
    )
    status: str = choice(STATUSES, "Only clients with this status.")
    role: str = Field(
        default="", description=f"Only clients with this API role, or with any that moves money: `{MOVES_MONEY}`."
    )
    tag: str = Field(default="", max_length=TAG_MAX, pattern=TEXT_PATTERN, description="Only clients with this tag.")
    owner: str = Field(
        default="", max_length=OWNER_MAX, pattern=TEXT_PATTERN, description="Only of this owner, in any letter case."
    )
    attention: str = choice(FILTERS, "Only clients that need attention, for this reason or for any.")
    sort: str = choice(SORTS, "The order; a minus sign reverses it.", DEFAULT_SORT)


class AttentionReason(Output):
    """A reason why a client needs attention."""

    reason: str = Field(json_schema_extra={"enum": [str(reason) for reason in attention.AttentionReason]})
    secret: str | None = Field(description="The label of the secret, with `ending` and `old`.")
    at: datetime | None = Field(description="The end, creation or last use that is the reason; null with `refused`.")


class Client(Output):
    """An identity client."""

    id: UUID = Field(description="Our own key of the client, which never changes.")
    client_id: str = Field(description="What the client sends to the token endpoint.")
    name: str
    description: str
    token_duration_minutes: int
    roles: list[str] = Field(description="The keys of its API roles, sorted.")
    owner: str = Field(description="The person or team to ask.")
    tags: list[str] = Field(description="Sorted, in small letters.")
    enabled: bool
    attention: list[AttentionReason]
    last_token_at: datetime | None = Field(description="When a token was last issued to it, accurate to a minute.")
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    version: int = Field(description="The number of its present version, which is also its ETag.")


class ClientList(Output):
    """A page of clients."""

    items: list[Client]


class NewClient(Input):
    """A client to create."""

    client_id: ClientId
    name: ClientName = ""
    description: Description = ""
    token_duration_minutes: TokenDuration = TOKEN_DURATION_DEFAULT_MINUTES
    roles: RoleKeys
    owner: Owner = ""
    tags: Tags = Field(default_factory=list)
    client_secret: ChosenSecret | None = Field(default=None, description="Leave it out to have a secret generated.")
    ends_at: EndOfSecret = None
    public_key: PublicKey | None = Field(
        default=None,
        description="A public key in place of a secret. Needed with roles that move money where the account forbids"
        f" secrets to their clients. {PUBLIC_KEY_FORMS}",
    )


def _without_defaults(schema: dict[str, Any]) -> None:
    for member in schema["properties"].values():
        member.pop("default", None)


class ClientPatch(Input):
    """A JSON merge patch (RFC 7396) of a client. Null empties name, description, owner or tags."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    client_id: ClientId = ""
    name: ClientName | None = ""
    description: Description | None = ""
    token_duration_minutes: TokenDuration = TOKEN_DURATION_DEFAULT_MINUTES
    roles: RoleKeys = Field(default_factory=list)
    owner: Owner | None = ""
    tags: Tags | None = Field(default_factory=list)
    enabled: bool = True


class CreatedClient(Client, CreatedOutput):
    """A client that was created, with its secret."""


def members_of(client: IdentityClient, reasons: Collection[Attention] = ()) -> dict[str, Any]:
    """Return the members of `Client` by name."""
    return {
        "id": client.id,
        "client_id": client.client_id,
        "name": client.name,
        "description": client.description,
        "token_duration_minutes": client.token_duration_minutes,
        "roles": sorted(client.roles),
        "owner": client.owner,
        "tags": sorted(client.tags),
        "enabled": client.enabled,
        "attention": [AttentionReason(reason=str(one.reason), secret=one.secret_label, at=one.at) for one in reasons],
        "last_token_at": client.last_token_at,
        "created_at": client.created_at,
        "created_by": client.created_by,
        "updated_at": client.updated_at,
        "updated_by": client.updated_by,
        "version": client.version,
    }
