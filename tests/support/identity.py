"""Token requests to a running server, and verification by its published keys."""

from typing import Any

import jwt
import requests

AUDIENCE = "https://api.mas.example"


def request_token(url: str, client_id: str, secret: str, scope: str | None = None) -> requests.Response:
    """Request a token.

    :param url: the server's base URL.
    """
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return requests.post(f"{url}/connect/token", data=form | ({"scope": scope} if scope else {}), timeout=10)


def claims(url: str, answer: requests.Response) -> dict[str, Any]:
    """Return the claims of a token, verified by the published keys as an API does."""
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    key = jwt.PyJWKClient(f"{url}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    decoded: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, issuer=url)
    return decoded


def is_refused(answer: requests.Response) -> bool:
    """Return whether the client was refused with the response that all refusals share (P7)."""
    return answer.status_code == 401 and answer.json() == {"error": "invalid_client"}
