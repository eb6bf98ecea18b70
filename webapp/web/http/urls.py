"""Build URLs that differ in the keys of rows only."""

from collections.abc import Callable
from typing import Any

from flask import url_for

_PLACEHOLDER = "identity-client-value-{}"


def url_builder(endpoint: str, *names: str) -> Callable[..., str]:
    """Return a function that does what `url_for` does for one endpoint, in a tenth of the time.

    It takes the value of each named variable of the URL, in this order: keys and numbers, which need no quoting.
    """
    variables: dict[str, Any] = {name: _PLACEHOLDER.format(name) for name in names}
    pattern = url_for(endpoint, **variables)

    def build(*values: object) -> str:
        url = pattern
        for placeholder, value in zip(variables.values(), values, strict=True):
            url = url.replace(placeholder, str(value))
        return url

    return build
