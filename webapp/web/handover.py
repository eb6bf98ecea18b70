"""The one answer that shows a secret, and ready commands and code to ask for a token."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Response

from ..core.models import IdentityClient
from ..core.secrets import Secret
from ..core.words import gettext
from ..host import services
from .guard import actor
from .htmx import htmx, render
from .responses import carries_secret

_PYTHON = """\
import os, requests
reply = requests.post(
    os.environ["{prefix}_TOKEN_URL"],
    data={{
        "grant_type": "client_credentials",
        "client_id": os.environ["{prefix}_CLIENT_ID"],
        "client_secret": os.environ["{prefix}_CLIENT_SECRET"],
        "scope": os.environ["{prefix}_SCOPE"],
    }},
    timeout=10,
)
reply.raise_for_status()
token = reply.json()["access_token"]  # good for {minutes} minutes"""


@dataclass(frozen=True, slots=True)
class Snippet:
    """One ready text.

    :param title: its short name.
    :param label: its name for somebody who only hears it.
    """

    title: str
    label: str
    text: str
    holds_secret: bool = False


def hand_over(
    client: IdentityClient, secret: Secret, *, title: str, new: bool = False, note: str | None = None
) -> Response:
    """Answer the POST that set a secret; no other answer ever shows it (S6, W14).

    :param new: whether the client was made by the same POST.
    :param note: what became of the secrets before; None: they were replaced at once.
    """
    response = render(
        "clients/handover.html",
        "clients/_handover_dialog.html",
        client=client,
        secret=secret.reveal(),
        snippets=snippets_for(client, secret),
        title=title,
        new=new,
        note=note,
    )
    if htmx().partial:
        response.headers["HX-Retarget"] = "#ic-dialog"
        response.headers["HX-Reswap"] = "innerHTML"
        response.headers["HX-Trigger"] = "ic-changed"
    return carries_secret(response)


def token_url() -> str:
    """Return the address of this server's token endpoint."""
    return f"{services().settings.issuer}/connect/token"


def scopes_of(client: IdentityClient) -> tuple[str, ...]:
    """Return the scopes that the client's tokens may carry at this moment."""
    catalogue = services().catalogue
    return catalogue.scopes(catalogue.effective(client.roles, actor().grantable_roles))


def snippets_for(client: IdentityClient, secret: Secret | None = None) -> Sequence[Snippet]:
    """Return cURL, .env and Python for one client.

    Values are quoted for a POSIX shell, which the usual readers of .env files understand as well.

    :param secret: the one to write into them; None: cURL takes it from the environment and .env leaves it open.
    """
    prefix = re.sub(r"[^A-Z0-9]+", "_", services().settings.platform_name.upper()).strip("_") or "IDENTITY"
    scope = " ".join(scopes_of(client))
    if secret is None:
        secret_argument, secret_value = f'"client_secret=${prefix}_CLIENT_SECRET"', ""
    else:
        secret_argument, secret_value = shlex.quote(f"client_secret={secret.reveal()}"), shlex.quote(secret.reveal())
    curl = [
        f"curl {shlex.quote(token_url())}",
        "-d grant_type=client_credentials",
        f"--data-urlencode {shlex.quote(f'client_id={client.client_id}')}",
        f"--data-urlencode {secret_argument}",
        f"--data-urlencode {shlex.quote(f'scope={scope}')}",
    ]
    environment = {
        "TOKEN_URL": shlex.quote(token_url()),
        "CLIENT_ID": shlex.quote(client.client_id),
        "CLIENT_SECRET": secret_value,
        "SCOPE": shlex.quote(scope),
    }
    return (
        Snippet("cURL", gettext("cURL command"), " \\\n  ".join(curl), secret is not None),
        Snippet(
            ".env",
            gettext(".env lines"),
            "\n".join(f"{prefix}_{name}={value}" for name, value in environment.items()),
            secret is not None,
        ),
        Snippet("Python", gettext("Python code"), _PYTHON.format(prefix=prefix, minutes=client.token_duration_minutes)),
    )
