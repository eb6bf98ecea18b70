"""Our stylesheet and scripts: compressed once, under addresses that change with their content."""

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cache

from flask import Response, abort, make_response, request, url_for

from ...core.paths import resource_folder

YEAR_SECONDS = 365 * 24 * 3600
HTMX = "vendor/htmx-4.0.1.min.js"


# Comments that have their lines to themselves: a fifth of what our script would weigh.
_COMMENT = re.compile(rb"^\s*/\*.*?\*/\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file in memory."""

    digest: str
    content_type: str
    plain: bytes
    compressed: bytes


def assets() -> dict[str, Asset]:
    """Return every static file of ours by its name below `static/identity_clients`."""
    return load("identity_clients")


@cache
def load(owner: str) -> dict[str, Asset]:
    """Return every file below `static/<owner>` by its name."""
    root = resource_folder("static") / owner
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            plain = path.read_bytes()
            if path.parent.name != "vendor":
                plain = _COMMENT.sub(b"", plain)
            found[path.relative_to(root).as_posix()] = Asset(
                digest=hashlib.sha256(plain).hexdigest()[:16],
                content_type=f"{mimetypes.guess_type(path.name)[0] or 'application/octet-stream'}; charset=utf-8",
                plain=plain,
                compressed=gzip.compress(plain, 9, mtime=0),
            )
    return found


def asset_url(filename: str) -> str:
    """Return the address of a static file as it is now."""
    return url_for(".asset", digest=assets()[filename].digest, filename=filename)


def asset(digest: str, filename: str) -> Response:
    """Answer with a static file, to be kept for a year; an old address is 404, never the new content."""
    return answer(assets().get(filename), digest)


def answer(found: Asset | None, digest: str) -> Response:
    """Answer with a file if it is there and still has this digest, else 404."""
    if found is None or found.digest != digest:
        abort(404)
    compressed = bool(request.accept_encodings.best_match(["gzip"]))
    response = make_response(found.compressed if compressed else found.plain)
    if compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.content_type = found.content_type
    response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    response.headers["Vary"] = "Accept-Encoding"
    return response
