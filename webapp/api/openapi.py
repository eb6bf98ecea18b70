"""Make the OpenAPI 3.1 document of the management API from its operations and their schemas."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ..core.clients.roles import READ_CLIENTS, WRITE_CLIENTS
from ..settings import Settings
from .client_schemas import ClientPatch, NewClient
from .operations import REPLAYED_HEADER, Operation
from .problems import Problem
from .requests import ENTITY_TAG, MERGE_PATCH_TYPE
from .resources import RESOURCES, TAGS
from .responses import JSON_TYPE, PROBLEM_TYPE
from .schemas import ProblemDetails

_DESCRIPTION = """\
Manages the identity clients of your account: what administrators do on the screens, by the same rules and in the same
audit log.

Authenticate with an access token of a client that has the role “Manage identity clients”, and only where an
administrator has allowed the API for your account. Times are RFC 3339 in UTC. Every change of a client sends the `ETag`
that it read in `If-Match`. A POST may carry an `Idempotency-Key`: for 24 hours the same request gets the same response,
but no secret again. Errors are problem details (RFC 9457)."""
_COMMON = (
    Problem.PLAIN_HTTP,
    Problem.MALFORMED,
    Problem.UNAUTHENTICATED,
    Problem.API_NOT_ALLOWED,
    Problem.SCOPE_MISSING,
    Problem.RATE_LIMITED,
    Problem.SERVER_ERROR,
    Problem.UNAVAILABLE,
)
_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {
        "description": "The version of the client, for `If-Match`.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
    },
    "Link": {
        "description": "The links `first`, `prev` and `next` (RFC 8288), without those that lead nowhere.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Location": {"description": "The address of what was created.", "required": True, "schema": {"type": "string"}},
    REPLAYED_HEADER: {
        "description": "`true` where a request with this idempotency key came before.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "RateLimit": {"description": "What is left: `r` requests, `t` seconds to one more.", "schema": {"type": "string"}},
    "RateLimit-Policy": {"description": "`q` requests in `w` seconds.", "schema": {"type": "string"}},
    "Retry-After": {
        "description": "In how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "RFC 6750, section 3.", "schema": {"type": "string"}},
    "X-Request-ID": {"description": "The ID of the request, as in events and logs.", "schema": {"type": "string"}},
}
_HEADERS_BY_STATUS = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_PATH_PARAMETERS = {
    "key": ("id", "The `id` of the client."),
    "secret_id": ("secret_id", "The `id` of the secret."),
    "key_id": ("key_id", "The `id` of the key."),
}


def make_document(settings: Settings, role_keys: Sequence[str]) -> dict[str, Any]:
    """Return the document.

    :param role_keys: the keys of the API roles that a client can have.
    """
    paths: dict[str, Any] = {}
    for path, _, operations in RESOURCES:
        names = re.findall(r"<(\w+)>", path)
        for name in names:
            path = path.replace(f"<{name}>", f"{{{_PATH_PARAMETERS[name][0]}}}")
        paths[path] = {
            **({"parameters": [_path_parameter(name) for name in names]} if names else {}),
            **{method.lower(): _operation(each, method, names) for method, each in operations.items()},
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{settings.platform_name} identity clients",
            "version": "1",
            "description": _DESCRIPTION,
            "contact": {"name": settings.platform_name, "url": settings.issuer},
        },
        "servers": [{"url": settings.issuer + settings.api_prefix}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _schemas(role_keys),
            "headers": _HEADERS,
            "securitySchemes": {
                "token": {
                    "type": "oauth2",
                    "description": "An access token of the token endpoint.",
                    "flows": {
                        "clientCredentials": {
                            "tokenUrl": settings.issuer + settings.token_path,
                            "scopes": {READ_CLIENTS: "Read clients.", WRITE_CLIENTS: "Change clients."},
                        }
                    },
                }
            },
        },
    }


def _operation(one: Operation, method: str, path_names: Iterable[str]) -> dict[str, Any]:
    parameters = _query_parameters(one)
    if one.needs_version:
        parameters.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": True,
                "description": "The `ETag` of the client as you read it.",
                "schema": {"type": "string", "pattern": f"^{ENTITY_TAG}$"},
            }
        )
    if method == "POST":
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "A random value of your own, the same when you repeat the request.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
            }
        )
    found: dict[str, Any] = {
        "operationId": one.id,
        "tags": [one.tag],
        "summary": one.summary,
        "description": one.description,
        "security": [{"token": [one.scope]}],
        "parameters": parameters,
        "responses": _responses(one, method, has_path=bool(list(path_names))),
    }
    if one.body is not None:
        content_type = MERGE_PATCH_TYPE if method == "PATCH" else JSON_TYPE
        found["requestBody"] = {
            "required": not one.body_is_optional,
            "content": {content_type: {"schema": _reference(one.body)}},
        }
    return found


def _responses(one: Operation, method: str, *, has_path: bool) -> dict[str, Any]:
    own = [*one.headers, *([REPLAYED_HEADER] if method == "POST" else [])]
    success: dict[str, Any] = {
        "description": one.response.__doc__ if one.response else "Done.",
        "headers": _header_references([*own, "RateLimit", "RateLimit-Policy", "X-Request-ID"]),
    }
    if one.response is not None:
        success["content"] = {JSON_TYPE: {"schema": _reference(one.response)}}
    links = _links(one)
    if links:
        success["links"] = links
    problems = [*_COMMON, *one.problems]
    problems += [Problem.NOT_FOUND] if has_path else []
    problems += [Problem.STALE_VERSION, Problem.VERSION_REQUIRED] if one.needs_version else []
    problems += [Problem.TOO_LARGE] if method not in ("GET", "DELETE") else []
    problems += [Problem.WRONG_CONTENT_TYPE] if one.body is not None else []
    problems += [Problem.KEY_REUSED] if method == "POST" else []
    return {
        str(one.status): success,
        **{str(status): _problem_response(status, problems) for status in sorted({each.status for each in problems})},
    }


def _problem_response(status: int, problems: Iterable[Problem]) -> dict[str, Any]:
    kinds = [
        f"`{problem.slug}`: {problem.title}." for problem in Problem if problem in problems and problem.status == status
    ]
    return {
        "description": "\n\n".join(kinds),
        "headers": _header_references([*_HEADERS_BY_STATUS.get(status, ()), "X-Request-ID"]),
        "content": {PROBLEM_TYPE: {"schema": _reference(ProblemDetails)}},
    }


def _links(one: Operation) -> dict[str, Any]:
    """Return what can follow an operation, for tools that follow links."""
    if one.id == "createClient":
        key = {"id": "$response.body#/id"}
        version = {"header.If-Match": "$response.header.ETag"}
        return {
            "read": {"operationId": "getClient", "parameters": key},
            "update": {"operationId": "updateClient", "parameters": key | version},
            "disable": {"operationId": "disableClient", "parameters": key | version},
            "revokeTokens": {"operationId": "revokeTokens", "parameters": key},
            "secrets": {"operationId": "listSecrets", "parameters": key},
            "rotate": {"operationId": "createSecret", "parameters": key | version},
            "keys": {"operationId": "listKeys", "parameters": key},
            "addKey": {"operationId": "addKey", "parameters": key | version},
            "networks": {"operationId": "setNetworks", "parameters": key | version},
            "delete": {"operationId": "deleteClient", "parameters": key | version},
        }
    if one.id in ("createSecret", "addKey"):
        kind = "Secret" if one.id == "createSecret" else "Key"
        path = {"id": "$request.path.id", f"{kind.lower()}_id": "$response.body#/id"}
        version = {"header.If-Match": "$response.header.ETag"}
        set_end_date = "setEndDate" if kind == "Secret" else "setKeyEndDate"
        return {
            "read": {"operationId": f"get{kind}", "parameters": path},
            "pause": {"operationId": f"pause{kind}", "parameters": path | version},
            "resume": {"operationId": f"resume{kind}", "parameters": path | version},
            "end": {"operationId": f"end{kind}", "parameters": path | version},
            "setEndDate": {"operationId": set_end_date, "parameters": path | version},
        }
    return {}


def _header_references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _path_parameter(name: str) -> dict[str, Any]:
    published, description = _PATH_PARAMETERS[name]
    return {
        "name": published,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "format": "uuid"},
    }


def _query_parameters(one: Operation) -> list[dict[str, Any]]:
    if one.query is None:
        return []
    parameters = []
    for name, schema in one.query.model_json_schema()["properties"].items():
        # An argument that is left out has no value, which the model stores as an empty text or None.
        kept = _without_titles(schema)
        if not kept.get("default"):
            kept.pop("default", None)
        options = kept.pop("anyOf", None)
        if options:
            kept |= next(option for option in options if option.get("type") != "null")
        parameters.append({"name": name, "in": "query", "description": kept.pop("description"), "schema": kept})
    return parameters


def _schemas(role_keys: Sequence[str]) -> dict[str, Any]:
    """Return the schema of every body, by the name of its class, with the platform's API roles."""
    models: dict[tuple[type[BaseModel], Any], None] = {(ProblemDetails, "serialization"): None}
    for _, _, operations in RESOURCES:
        for one in operations.values():
            if one.body is not None:
                models[one.body, "validation"] = None
            if one.response is not None:
                models[one.response, "serialization"] = None
    _, definitions = models_json_schema(list(models), ref_template="#/components/schemas/{model}")
    schemas = {name: _without_titles(schema) for name, schema in sorted(definitions["$defs"].items())}
    for schema in schemas.values():
        if schema.get("additionalProperties") is False:
            for member in schema["properties"].values():
                _describe_default(member)
    for name in (NewClient.__name__, ClientPatch.__name__):
        schemas[name]["properties"]["roles"]["items"]["enum"] = list(role_keys)
    return schemas


def _describe_default(member: dict[str, Any]) -> None:
    """Move the default of a member into its description: generators of clients take one that has a default as required.

    A default that means nothing, such as an empty text, is left out.
    """
    default = member.pop("default", None)
    if default not in (None, "", [], False):
        member["description"] = f"{member.get('description', '')} Without it {default}.".strip()


def _without_titles(schema: Any) -> Any:
    """Return a schema without the titles that pydantic makes of the names."""
    if isinstance(schema, Mapping):
        return {
            name: _without_titles(value)
            for name, value in schema.items()
            if not (name == "title" and isinstance(value, str))
        }
    return [_without_titles(value) for value in schema] if isinstance(schema, list) else schema


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
