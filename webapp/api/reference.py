"""The OpenAPI document, and a page that renders it on the server, without script (W15)."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from flask import Response, abort, render_template, url_for

from ..core.paths import resource_folder
from ..final_response import FinalResponse
from ..host import services
from ..security_headers import FILE_HEADERS, PAGE_HEADERS
from .openapi import make_document
from .problems import Problem
from .responses import JSON_TYPE, raw_response

YEAR_SECONDS = 365 * 24 * 3600
_REFERENCE = "#/components/schemas/"
_COMMON_STATUSES = ("400", "401", "403", "413", "415", "429", "500", "503")


def openapi_document() -> Response:
    """Return the OpenAPI document, which anybody may read; it names no client and no account."""
    text = json.dumps(_document(), ensure_ascii=False, separators=(",", ":"))
    return raw_response(text.encode(), 200, {}, content_type=JSON_TYPE)


def reference_page() -> Response:
    """Show the document as a page."""
    document = _document()
    page = render_template(
        "identity_clients/api/reference.html",
        document=document,
        operations=_operations_by_tag(document),
        problems=list(Problem),
        common_statuses=_COMMON_STATUSES,
        spans=spans,
        type_of=type_of,
        stylesheet_url=url_for(".stylesheet", digest=_stylesheet()[1]),
        document_url=url_for(".openapi"),
    )
    headers = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", **PAGE_HEADERS}
    return FinalResponse(page.encode(), 200, headers)


def stylesheet(digest: str) -> Response:
    """Return the stylesheet of the page, cached for a year; the URL of former content is 404."""
    content, present = _stylesheet()
    if digest != present:
        abort(404)
    return FinalResponse(
        content,
        200,
        {
            "Content-Type": "text/css; charset=utf-8",
            "Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable",
            **FILE_HEADERS,
        },
    )


def spans(text: str) -> list[tuple[str, bool]]:
    """Return the parts of a text in Markdown, and whether each is code; no other markup occurs."""
    return [(part, index % 2 == 1) for index, part in enumerate(text.split("`")) if part]


def type_of(schema: Mapping[str, Any]) -> tuple[str, str]:
    """Return the type of a member in words, and the name of the schema that it refers to, or an empty text."""
    if "$ref" in schema:
        return "", str(schema["$ref"]).removeprefix(_REFERENCE)
    if "anyOf" in schema:
        options = [type_of(option) for option in schema["anyOf"]]
        return " or ".join(words for words, _ in options).strip(), "".join(reference for _, reference in options)
    if schema.get("type") == "array":
        words, reference = type_of(schema["items"])
        return f"list of {words}".strip(), reference
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"])), ""
    return " ".join(filter(None, (schema.get("type", "any"), _format(schema)))), ""


def _format(schema: Mapping[str, Any]) -> str:
    return f"({schema['format']})" if "format" in schema else ""


def _operations_by_tag(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                parameters = [*item.get("parameters", []), *operation["parameters"]]
                shown = {**operation, "method": method.upper(), "path": path, "parameters": parameters}
                found[operation["tags"][0]].append(shown)
    return found


def _document() -> dict[str, Any]:
    return make_document(services().settings, list(services().catalogue))


@cache
def _stylesheet() -> tuple[bytes, str]:
    content = (resource_folder("static") / "identity_clients" / "api.css").read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:16]
