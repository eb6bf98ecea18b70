"""The Postman collection of a client, which requests a token."""

import json
from typing import Any

from flask import Response

from ...core.database.models import IdentityClient
from ...core.i18n import gettext
from ..http.csv_files import file_name
from ..http.loading import load_client
from ..http.response_kinds import ResponseKind, ScreenResponse
from .snippets import scopes_of, token_url

SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_TEST_SCRIPT = "pm.collectionVariables.set('access_token', pm.response.json().access_token);"


def postman_collection(key: str) -> Response:
    """Download a Postman collection (v2.1) without the secret, which its user fills in there."""
    client = load_client(key)
    response = ScreenResponse(json.dumps(_collection(client), indent=2) + "\n", content_type="application/json")
    response.kind = ResponseKind.DOWNLOAD
    name = file_name([client.client_id]) or "client"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.postman_collection.json"'
    return response


def _collection(client: IdentityClient) -> dict[str, Any]:
    parameters = {
        "grant_type": "client_credentials",
        "client_id": "{{client_id}}",
        "client_secret": "{{client_secret}}",
        "scope": "{{scope}}",
    }
    variables = {
        "token_url": token_url(),
        "client_id": client.client_id,
        "client_secret": "",
        "scope": " ".join(scopes_of(client)),
        "access_token": "",
    }
    return {
        "info": {"name": client.client_id, "schema": SCHEMA},
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{access_token}}", "type": "string"}]},
        "item": [
            {
                "name": gettext("Ask for a token"),
                "event": [{"listen": "test", "script": {"type": "text/javascript", "exec": [_TEST_SCRIPT]}}],
                "request": {
                    "auth": {"type": "noauth"},
                    "method": "POST",
                    "header": [],
                    "body": {
                        "mode": "urlencoded",
                        "urlencoded": [
                            {"key": name, "value": value, "type": "text"} for name, value in parameters.items()
                        ],
                    },
                    "url": "{{token_url}}",
                },
            }
        ],
        "variable": [{"key": name, "value": value, "type": "string"} for name, value in variables.items()],
    }
