"""The API roles of the account."""

from pydantic import Field

from ..core.clients.roles import READ_CLIENTS
from ..host import services
from .operations import Call, Reply, operation
from .schemas import Output

TAG = "Roles"


class Role(Output):
    """An API role that the account holds."""

    key: str = Field(description="What `roles` of a client and of its tokens carry.")
    name: str
    description: str
    group: str
    scopes: list[str]
    moves_money: bool
    held: bool = Field(description="Whether you hold it yourself, and so can give it to a client.")


class RoleList(Output):
    """API roles, in the order in which the screens show them."""

    items: list[Role]


@operation(id="listRoles", tag=TAG, scope=READ_CLIENTS, attempt="list", response=RoleList)
def list_roles(call: Call) -> Reply:
    """List the API roles of your account.

    Those that clients of your account can have.
    """
    roles = services().catalogue.grantable(call.caller.client.account.grantable_roles)
    return Reply(
        RoleList(
            items=[
                Role(
                    key=role.key,
                    name=str(role.name),
                    description=str(role.description),
                    group=str(role.group),
                    scopes=list(role.scopes),
                    moves_money=role.moves_money,
                    held=role.key in call.caller.roles,
                )
                for role in roles
            ]
        )
    )
