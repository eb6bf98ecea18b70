"""Show the secret of a client once, with ready commands and code that request a token."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Response, url_for

from ...core.database.models import IdentityClient
from ...core.i18n import gettext
from ...core.secrets.generation import Secret
from ...host import services
from ..http.forms import ScreenForm
from ..http.handover import show_secret
from ..http.loading import effective_roles

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
    """A command or piece of code to copy.

    :param title: its short name.
    :param label: its name for screen readers.
    """

    title: str
    label: str
    text: str
    holds_secret: bool = False


def hand_over(
    client: IdentityClient, secret: Secret, *, title: str, new: bool = False, note: str | None = None
) -> Response:
    """Return the response that shows the secret of a client, with ready commands and code.

    :param new: whether the same POST created the client.
    :param note: a sentence on when the previous secrets end; None where they were replaced at once.
    """
    return show_secret(
        "secrets/_handover.html",
        title=title,
        done_url=url_for(".details", key=client.id),
        changed=client.id,
        client=client,
        secret=secret.reveal(),
        snippets=snippets_for(client, secret),
        new=new,
        note=note,
        test_url=url_for(".try_token", key=client.id),
        test_form=ScreenForm(),
    )


def token_url() -> str:
    """Return the URL of the token endpoint."""
    settings = services().settings
    return settings.issuer + settings.token_path


def environment_prefix() -> str:
    """Return what the names of environment variables begin with: the platform's name in capital letters."""
    return re.sub(r"[^A-Z0-9]+", "_", services().settings.platform_name.upper()).strip("_") or "IDENTITY"


def scopes_of(client: IdentityClient) -> tuple[str, ...]:
    """Return the scopes that a token of the client may have at this moment."""
    return services().catalogue.scopes(effective_roles(client))


def snippets_for(client: IdentityClient, secret: Secret | None = None) -> Sequence[Snippet]:
    """Return snippets for cURL, a .env file and Python that request a token for one client.

    Values are quoted for a POSIX shell, which the usual .env parsers understand as well.

    :param secret: the secret to write into them; None: cURL takes it from the environment, and .env leaves it empty.
    """
    prefix = environment_prefix()
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
        # Translators: a tab with a ready command line.
        Snippet("cURL", gettext("cURL command"), " \\\n  ".join(curl), secret is not None),
        Snippet(
            ".env",
            gettext(".env lines"),
            "\n".join(f"{prefix}_{name}={value}" for name, value in environment.items()),
            secret is not None,
        ),
        Snippet("Python", gettext("Python code"), _PYTHON.format(prefix=prefix, minutes=client.token_duration_minutes)),
    )
