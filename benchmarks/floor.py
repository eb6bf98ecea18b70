"""The lower bound of Flask under the same server: a fixed response of a token's size."""

from flask import Flask, Response

app = Flask(__name__)
BODY = b'{"access_token": "' + b"x" * 690 + b'", "token_type": "Bearer", "expires_in": 3600, "scope": "API"}'


@app.post("/connect/token")
def token() -> Response:
    """Return the fixed response."""
    return Response(BODY, mimetype="application/json")
