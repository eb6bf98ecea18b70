"""Commands and code that request a token with a client's secret, ready to copy."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ...core.database.models import IdentityClient
from ...core.i18n import gettext
from ...core.secrets.generation import Secret
from ...host import services
from ..http.loading import effective_roles

_PYTHON = """\
import os
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session
{plain_http_python}
client = BackendApplicationClient(os.environ["{prefix}_CLIENT_ID"], scope=os.environ["{prefix}_SCOPE"])
with OAuth2Session(client=client) as session:
    answer = session.fetch_token(
        os.environ["{prefix}_TOKEN_URL"],
        client_secret=os.environ["{prefix}_CLIENT_SECRET"],
        include_client_id=True,
        timeout=10,
    )
token = answer["access_token"]  # good for {minutes} minutes"""

_NODE = """\
import * as client from "openid-client"; // version 6

const {{ {prefix}_CLIENT_ID: id, {prefix}_CLIENT_SECRET: secret, {prefix}_SCOPE: scope }} = process.env;
const server = await client.discovery(new URL({issuer}), id, secret{plain_http_node});
const answer = await client.clientCredentialsGrant(server, {{ scope }});
const token = answer.access_token; // good for {minutes} minutes"""

_JAVA = """\
// org.springframework.boot:spring-boot-starter-oauth2-client
ClientRegistration registration = ClientRegistration.withRegistrationId("{registration}")
    .tokenUri(System.getenv("{prefix}_TOKEN_URL"))
    .clientId(System.getenv("{prefix}_CLIENT_ID"))
    .clientSecret(System.getenv("{prefix}_CLIENT_SECRET"))
    .clientAuthenticationMethod(ClientAuthenticationMethod.CLIENT_SECRET_POST)
    .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
    .scope(System.getenv("{prefix}_SCOPE").split(" "))
    .build();
var registrations = new InMemoryClientRegistrationRepository(registration);
var manager = new AuthorizedClientServiceOAuth2AuthorizedClientManager(
    registrations, new InMemoryOAuth2AuthorizedClientService(registrations));

// Keeps the token and asks for the next one when it ends, after {minutes} minutes.
var request = OAuth2AuthorizeRequest.withClientRegistrationId("{registration}").principal("{registration}").build();
String token = manager.authorize(request).getAccessToken().getTokenValue();"""

_CSHARP = """\
using Duende.IdentityModel.Client; // dotnet add package Duende.IdentityModel

using var http = new HttpClient();
var answer = await http.RequestClientCredentialsTokenAsync(new ClientCredentialsTokenRequest
{{
    Address = Environment.GetEnvironmentVariable("{prefix}_TOKEN_URL"),
    ClientId = Environment.GetEnvironmentVariable("{prefix}_CLIENT_ID")!,
    ClientSecret = Environment.GetEnvironmentVariable("{prefix}_CLIENT_SECRET"),
    Scope = Environment.GetEnvironmentVariable("{prefix}_SCOPE"),
}});
if (answer.IsError) throw new HttpRequestException(answer.Error);
var token = answer.AccessToken; // good for {minutes} minutes"""
_PLAIN_HTTP_PYTHON = '\nos.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http, for development only\n'
_PLAIN_HTTP_NODE = """, undefined, {
  execute: [client.allowInsecureRequests], // plain http, for development only
}"""


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
    """Return snippets that request a token for one client: for cURL, a .env file and Python, then other languages.

    Values are quoted for a POSIX shell, which the usual .env parsers understand as well. Code reads the variables of
    the .env file, and allows plain http where the issuer has it, as in development.

    :param secret: the secret to write into them; None: cURL takes it from the environment, and .env leaves it empty.
        With one there are only the first three, since the handover is never compressed.
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
    is_plain_http = token_url().startswith("http:")
    values = {
        "prefix": prefix,
        "minutes": client.token_duration_minutes,
        "issuer": json.dumps(services().settings.issuer),
        "registration": prefix.lower().replace("_", "-"),
        "plain_http_python": _PLAIN_HTTP_PYTHON if is_plain_http else "",
        "plain_http_node": _PLAIN_HTTP_NODE if is_plain_http else "",
    }
    short = (
        # Translators: a tab with a ready command line.
        Snippet("cURL", gettext("cURL command"), " \\\n  ".join(curl), secret is not None),
        Snippet(
            ".env",
            gettext(".env lines"),
            "\n".join(f"{prefix}_{name}={value}" for name, value in environment.items()),
            secret is not None,
        ),
        Snippet("Python (requests-oauthlib)", gettext("Python code"), _PYTHON.format(**values)),
    )
    if secret is not None:
        return short
    return (
        *short,
        Snippet("Node (openid-client)", gettext("Node code"), _NODE.format(**values)),
        Snippet("Java (Spring Security)", gettext("Java code"), _JAVA.format(**values)),
        Snippet("C# (Duende.IdentityModel)", gettext("C# code"), _CSHARP.format(**values)),
    )
