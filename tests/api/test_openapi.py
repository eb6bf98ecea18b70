"""The OpenAPI document and the page that renders it."""

import json
import re
from typing import Any

import pytest

from tests.support.api import PREFIX, READ, WRITE, Api
from tests.support.endpoint import ISSUER
from webapp.api.problems import Problem
from webapp.api.resources import RESOURCES, TAGS

OPERATIONS = [operation for _, _, operations in RESOURCES for operation in operations.values()]


@pytest.fixture
def document(api: Api) -> dict[str, Any]:
    """Return the document as it is served without authentication."""
    response = api.client.get(f"{PREFIX}/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = json.loads(response.text)
    return found


def test_the_document_has_every_operation(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": ISSUER + PREFIX}]
    described = {
        (path, method): operation["operationId"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    }
    assert len(described) == len(OPERATIONS)
    assert set(described.values()) == {operation.id for operation in OPERATIONS}
    assert {tag["name"] for tag in document["tags"]} == set(TAGS) == {operation.tag for operation in OPERATIONS}


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    for item in document["paths"].values():
        for method, operation in item.items():
            if method != "parameters":
                assert operation["summary"], operation
                assert operation["description"], operation
                [[scope]] = [each["token"] for each in operation["security"]]
                assert scope == (READ if method == "get" else WRITE)


def test_inputs_are_closed_and_versioned_changes_need_if_match(document: dict[str, Any]) -> None:
    """Schemas allow no unknown members (I8)."""
    schemas = document["components"]["schemas"]
    for item in document["paths"].values():
        for method, operation in item.items():
            if method == "parameters":
                continue
            for content in operation.get("requestBody", {}).get("content", {}).values():
                name = content["schema"]["$ref"].rpartition("/")[2]
                assert schemas[name]["additionalProperties"] is False
            needs_version = "428" in operation["responses"]
            names = {parameter["name"]: parameter for parameter in operation["parameters"]}
            assert needs_version == ("If-Match" in names)
            assert ("Idempotency-Key" in names) == (method == "post")


def test_every_reference_has_a_target(document: dict[str, Any]) -> None:
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(document)):
        found: Any = document
        for part in reference.split("/"):
            found = found[part]


def test_the_page_describes_every_operation_and_problem(api: Api) -> None:
    """Without JavaScript, and with stylesheets of our own origin only (W15)."""
    response = api.client.get(f"{PREFIX}/reference")
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    page = response.text
    for operation in OPERATIONS:
        assert f'id="operation-{operation.id}"' in page
    for problem in Problem:
        assert f'id="{problem.slug}"' in page
    assert "<script" not in page
    assert "style=" not in page
    [stylesheet] = re.findall(r'<link rel="stylesheet" href="([^"]+)">', page)
    styles = api.client.get(stylesheet)
    assert (styles.status_code, styles.mimetype) == (200, "text/css")
    assert "immutable" in styles.headers["Cache-Control"]
    assert api.client.get(re.sub(r"/[0-9a-f]+\.css", "/0.css", stylesheet)).status_code == 404
    anchors = set(re.findall(r' id="([^"]+)"', page))
    assert {link for link in re.findall(r'href="#([^"]+)"', page) if link not in anchors} == set()


def test_the_type_of_a_problem_is_its_line_on_the_page(api: Api) -> None:
    kind = (api.call("GET", "/clients", token="x").json or {})["type"]
    assert kind == f"{ISSUER}{PREFIX}/reference#unauthenticated"
