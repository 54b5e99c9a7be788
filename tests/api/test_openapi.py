"""The OpenAPI document: valid, whole, and of use to people and to generators of clients."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from api import errors
from api.addresses import METHODS, methods
from api.app import create_app
from api.errors import TITLES
from api.settings import Settings
from hpo.store.memory import MemoryStore

Json = dict[str, Any]
DOCUMENT: Json = create_app(Settings(home=Path("nowhere"), token="none"), MemoryStore()).openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
}
GUARDED = [label for label in OPERATIONS if " /v1/" in label]
OPEN = {"GET /healthz", "GET /readyz", "GET /metrics"}
each_operation = pytest.mark.parametrize("label", OPERATIONS)


def resolved(node: Json) -> Json:
    """The node itself, or what its $ref leads to."""
    if "$ref" not in node:
        return node
    target: Json = DOCUMENT
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return target


def nodes(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from nodes(each)
    elif isinstance(value, list):
        for each in value:
            yield from nodes(each)


def is_shown(media: Json) -> bool:
    """Whether there is an example: beside the schema, in it, or of what a list holds."""
    schema = resolved(media["schema"])
    if schema.get("format") == "binary":
        return True
    listed = schema.get("properties", {}).get("items", {}).get("items", {})
    return bool({"example", "examples"} & (media.keys() | schema.keys() | resolved(listed).keys()))


def test_the_document_is_valid_openapi_3_1(http: httpx.Client) -> None:
    served = http.get("/openapi.json").json()
    assert served["openapi"].startswith("3.1")
    validate(served)
    assert served == DOCUMENT
    assert http.get("/docs").status_code == 200


def test_every_operation_has_a_name_of_its_own_that_makes_a_good_function() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch("[a-z]+(_[a-z]+)*", name)] == []


@each_operation
def test_an_operation_says_what_it_is_for(label: str) -> None:
    operation = OPERATIONS[label]
    [tag] = operation["tags"]
    assert tag in {each["name"] for each in DOCUMENT["tags"]}
    assert operation["summary"]
    assert operation["description"]
    assert operation["summary"] != operation["operationId"].replace("_", " ").title(), "FastAPI's own says nothing"


@each_operation
def test_an_operation_shows_what_it_takes_and_gives(label: str) -> None:
    operation = OPERATIONS[label]
    for parameter in operation.get("parameters", ()):
        assert parameter["description"], parameter["name"]
        assert {"example", "examples", "default", "enum", "$ref"} & (parameter.keys() | parameter["schema"].keys()), (
            parameter["name"]
        )
    for media in operation.get("requestBody", {}).get("content", {}).values():
        assert is_shown(media)
    for status, response in operation["responses"].items():
        assert resolved(response)["description"], status
        for media in resolved(response).get("content", {}).values():
            assert is_shown(media), status


@pytest.mark.parametrize("label", GUARDED)
def test_an_operation_needs_a_token_and_says_what_happens_without(label: str) -> None:
    assert OPERATIONS[label]["security"]
    refused = resolved(OPERATIONS[label]["responses"]["401"])
    assert refused["headers"].keys() == {"WWW-Authenticate"}
    assert refused["content"].keys() == {"application/problem+json"}


def test_all_that_needs_no_token_is_health() -> None:
    assert OPERATIONS.keys() - set(GUARDED) == OPEN
    assert [label for label in OPEN if "security" in OPERATIONS[label]] == []


def test_every_reference_leads_somewhere_and_no_parameter_is_null() -> None:
    for node in nodes(DOCUMENT):
        if isinstance(node.get("$ref"), str):
            assert resolved(node)
    parameters = [each for operation in OPERATIONS.values() for each in operation.get("parameters", ())]
    assert [each["name"] for each in parameters if {"type": "null"} in list(nodes(each["schema"]))] == []


def test_every_problem_has_a_title_and_one_status() -> None:
    statuses = {slug: [code for code in range(400, 600) if slug in errors.slugs(code)] for slug in TITLES}
    assert {slug: codes for slug, codes in statuses.items() if len(codes) != 1} == {}
    assert {slug for code in range(400, 600) for slug in errors.slugs(code)} == TITLES.keys()


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/v1/studies", "GET POST"),
        ("/v1/studies/mine", "GET DELETE PATCH"),
        ("/v1/studies/mine:pause", "POST"),
        ("/v1/studies:validate", "POST"),
        ("/v1/studies/mine/trials/3:stop", "POST"),
        ("/healthz", "GET"),
        ("/nowhere", ""),
    ],
)
def test_the_methods_of_an_address_are_those_of_all_its_routes(path: str, taken: str) -> None:
    assert set(methods(DOCUMENT, path)) == set(taken.split())


def test_a_wrong_method_is_told_which_are_right(http: httpx.Client) -> None:
    for method, path in [("PUT", "/v1/studies/mine"), ("GET", "/v1/studies/mine/trials/3:stop"), ("PUT", "/healthz")]:
        refused = http.request(method, path)
        assert refused.status_code == 405
        assert refused.headers["allow"].split(", ") == methods(DOCUMENT, path)
        assert refused.json()["type"] == "urn:hpo:problem:method-not-allowed"
