"""The OpenAPI document says everything, and nothing that is not so."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from moorage.api import openapi, urls
from tests.api.conftest import Caller

METHODS = ("get", "put", "post", "delete")
Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Made anew, with everything that its maker warns of."""
    openapi.document.cache_clear()
    GENERATOR_STATS.reset()
    return openapi.document()


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    """All of them."""
    for path, item in document["paths"].items():
        for method in item:
            yield path, method, item[method]


def test_anybody_reads_it_and_it_is_valid_openapi_3_1(anybody: Caller, document: dict[str, Any]) -> None:
    found = anybody.get("openapi.json")

    assert found == document
    assert found["openapi"].startswith("3.1")
    validate_schema(found)
    assert not GENERATOR_STATS


def test_every_route_and_method_is_in_it(document: dict[str, Any]) -> None:
    documented = {(path, method) for path, method, _ in operations(document)}
    served = set()
    for pattern in urls.urlpatterns:
        view = getattr(pattern.callback, "view_class", None)
        if view is None:
            assert pattern.name == "unknown"
            continue
        path = "/api/v1/" + "".join(
            part.rpartition(":")[2] if ":" in part else part for part in _parts(str(pattern.pattern))
        )
        served |= {(path, method) for method in METHODS if hasattr(view, method)}

    assert documented == served


def test_every_operation_says_what_it_is_for_and_what_goes_wrong(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert operation["summary"] and len(operation["description"]) > 20 and operation["operationId"], where
        failures = {status: answer for status, answer in operation["responses"].items() if int(status) >= 400}
        public = operation.get("security") == [] or "security" not in operation
        assert "500" in failures, where
        assert public or {"401", "422"} <= failures.keys(), where
        assert "{" not in path or "404" in failures or method == "put", where
        assert "requestBody" not in operation or {"400", "413", "415"} <= failures.keys(), where
        for answer in failures.values():
            content = answer["content"]["application/json"]
            assert content["schema"]["$ref"].endswith("/ErrorEnvelope") and content["examples"], where


def test_every_parameter_says_what_it_is(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (method, path, parameter["name"])
        names = set(re.findall(r"\{[a-z_]+\}", path))
        assert names == {f"{{{found['name']}}}" for found in operation.get("parameters", []) if found["in"] == "path"}


def test_every_body_and_every_answer_has_an_example_that_fits_its_schema(document: dict[str, Any]) -> None:
    checked = 0
    for path, method, operation in operations(document):
        bodies = [("request", operation.get("requestBody", {}))]
        bodies += list(operation["responses"].items())
        for name, body in bodies:
            assert body.get("content") or name in ("request", "204"), (method, path, name)
            for media_type, content in body.get("content", {}).items():
                assert content.get("examples"), (method, path, name, media_type)
                for example in content["examples"].values():
                    schema = {**content["schema"], "components": document["components"]}
                    try:
                        Draft202012Validator(schema).validate(example["value"])
                    except jsonschema.ValidationError as error:
                        pytest.fail(f"{method} {path} {name} {media_type}: {error.message} at {error.json_path}")
                    checked += 1
    assert checked > 100


def test_only_health_and_the_document_itself_are_open(document: dict[str, Any]) -> None:
    opened = {path for path, _, operation in operations(document) if not operation.get("security")}

    assert opened == {"/api/v1/openapi.json", "/api/v1/healthz", "/api/v1/readyz"}


def _parts(pattern: str) -> list[str]:
    return [f"{{{part.partition(':')[2]}}}" if ":" in part else part for part in _split(pattern)]


def _split(pattern: str) -> list[str]:
    found = []
    for piece in pattern.split("<"):
        head, bracket, tail = piece.partition(">")
        found += [head, tail] if bracket else [piece]
    return found


def test_no_path_is_routed_twice() -> None:
    """Of two views at one path the second is never asked."""
    paths = [str(route.pattern) for route in urls.urlpatterns]

    assert sorted(paths) == sorted(set(paths))
