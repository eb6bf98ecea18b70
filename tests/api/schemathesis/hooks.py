"""Let Schemathesis create clients: it likes to repeat client IDs that it has seen, which are taken."""

import itertools
from typing import Any

import schemathesis

_numbers = itertools.count(1)


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    """Replace a client ID that a response has shown by one that is free."""
    if isinstance(body, dict) and str(body.get("client_id")).startswith("fuzz-"):
        return {**body, "client_id": f"fuzz-{next(_numbers):06}"}
    return body
