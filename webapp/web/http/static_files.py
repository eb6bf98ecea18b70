"""Serve stylesheets and scripts: assembled and compressed at start, under URLs that change with their content."""

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flask import Response, abort, request, url_for

from ...core.paths import resource_folder
from ...host import services
from .response_kinds import ResponseKind, ScreenResponse

YEAR_SECONDS = 365 * 24 * 3600
HTMX = "vendor/htmx-4.0.1.min.js"

_IMPORT = re.compile(rb'^@import "(css/[\w-]+\.css)";\n', re.MULTILINE)
# Comments on lines of their own, indentation and blank lines: readable source costs nothing on the wire.
_COMMENT = re.compile(rb"^\s*/\*.*?\*/\n", re.MULTILINE | re.DOTALL)
_INDENTATION = re.compile(rb"^\s+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Asset:
    """One static file in memory."""

    digest: str
    content_type: str
    plain: bytes
    compressed: bytes


def assets() -> dict[str, Asset]:
    """Return every file below `static/identity_clients` by its name."""
    return load("identity_clients")


def load(owner: str) -> dict[str, Asset]:
    """Return every file below `static/<owner>` by its name.

    In development mode they are read again whenever one of them has changed.
    """
    root = resource_folder("static") / owner
    if not services().settings.development:
        return _load(root, 0)
    return _load(root, max(path.stat().st_mtime_ns for path in root.rglob("*")))


@lru_cache(maxsize=4)
def _load(root: Path, _changed_at_ns: int) -> dict[str, Asset]:
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.parent.name != "css":
            plain = path.read_bytes() if path.parent.name == "vendor" else _assemble(path)
            found[path.relative_to(root).as_posix()] = Asset(
                digest=hashlib.sha256(plain).hexdigest()[:16],
                content_type=f"{mimetypes.guess_type(path.name)[0] or 'application/octet-stream'}; charset=utf-8",
                plain=plain,
                compressed=gzip.compress(plain, 9, mtime=0),
            )
    return found


def _assemble(path: Path) -> bytes:
    """Return a file with the files below `css/` in place of its `@import` lines, without comments and indentation."""
    whole = _IMPORT.sub(lambda found: (path.parent / found[1].decode()).read_bytes(), path.read_bytes())
    return _INDENTATION.sub(b"", _COMMENT.sub(b"", whole))


def asset_url(filename: str) -> str:
    """Return the URL of a static file with its present content."""
    return url_for(".asset", digest=assets()[filename].digest, filename=filename)


def asset(digest: str, filename: str) -> Response:
    """Serve a static file, cached for a year. A URL of former content is 404."""
    return answer(assets().get(filename), digest)


def answer(found: Asset | None, digest: str) -> Response:
    """Return the response with a file.

    :param digest: the digest in the URL.
    :raises NotFound: there is no such file, or its content has another digest.
    """
    if found is None or found.digest != digest:
        abort(404)
    compressed = bool(request.accept_encodings.best_match(["gzip"]))
    response = ScreenResponse(found.compressed if compressed else found.plain)
    response.kind = ResponseKind.STATIC_FILE
    if compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.content_type = found.content_type
    response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    response.headers["Vary"] = "Accept-Encoding"
    return response
