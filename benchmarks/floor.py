"""The least that Flask can do under the same server: a fixed answer of a token's size."""

from flask import Flask, Response

app = Flask(__name__)
BODY = b'{"access_token": "' + b"x" * 690 + b'", "token_type": "Bearer", "expires_in": 3600, "scope": "API"}'


@app.post("/connect/token")
def token() -> Response:
    """Answer without looking."""
    return Response(BODY, mimetype="application/json")
