"""Write a line to a file for each signal: call `follow` once when your application starts."""

import json
from functools import partial
from pathlib import Path

from identity_clients import signals

NAMES = ("created", "changed", "enabled", "disabled", "deleted", "secret_changed", "key_changed", "attention")


def follow(file: Path) -> None:
    """Append a JSON object to the file for each signal from now on."""
    for name in NAMES:
        getattr(signals, name).connect(partial(_write, file, name), weak=False)  # the receiver is referenced here only


def _write(file: Path, name: str, _engine: object, **facts: object) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"signal": name, **facts}, default=str) + "\n")
