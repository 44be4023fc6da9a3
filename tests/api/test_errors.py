"""Every error is the same envelope, wherever it happens."""

import json

import pytest
from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.test import RequestFactory
from rest_framework.request import Request

from moorage.accounts.models import Scope
from moorage.api import errors
from moorage.api.doors import PublicView
from tests.api.conftest import COMPOSE, Caller, calling, error_of
from tests.cast import Cast


@pytest.mark.parametrize("path", ["", "nothing", "deployments/", "deployments/a/b/c", "keys/%00", "deployments/a%0Ab"])
def test_an_address_that_is_none_is_not_found(alice: Caller, path: str) -> None:
    assert error_of(alice("GET", path), 404)["code"] == "not_found"


def test_a_method_that_an_address_does_not_take_is_named(alice: Caller) -> None:
    answer = alice("POST", "deployments")

    assert "POST" in error_of(answer, 405)["message"]
    assert "GET" in answer["allow"]


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_none(alice: Caller, method: str) -> None:
    error_of(alice(method, "deployments"), 405)


def test_a_content_type_that_is_not_read_is_refused(alice: Caller) -> None:
    error_of(alice("POST", "keys", "name=ci", content_type="application/x-www-form-urlencoded"), 415)
    error_of(alice("PUT", "deployments/demo", COMPOSE, content_type="text/html"), 415)


def test_a_format_that_there_is_not_is_refused(alice: Caller) -> None:
    error_of(alice("GET", "keys", accept="text/html"), 406)


@pytest.mark.parametrize(
    "body",
    [
        "{",
        '{"name": "a", "name": "b"}',
        '{"name": NaN}',
        "[" * 60_000,
        '{"name": ' + "1" * 10_000 + "}",
        b"\xff\xfe",
        "",
    ],
)
def test_json_that_is_none_is_malformed_or_lacks_its_fields(alice: Caller, body: str | bytes) -> None:
    answer = alice("POST", "keys", body, content_type="application/json")

    assert error_of(answer, answer.status_code)["type"] == "invalid_request_error"
    assert answer.status_code in (400, 422)


def test_json_over_the_limit_is_refused(alice: Caller) -> None:
    answer = alice("POST", "keys", {"name": "x" * 70_000})

    assert error_of(answer, 413)["code"] == "body_too_large"


@pytest.mark.parametrize("body", [[], [1], {"name": ["x"]}, {"name": {"a": 1}}, {"name": "\u0000"}, {"name": "\ud800"}])
def test_json_of_the_wrong_shape_is_refused_with_a_sentence(alice: Caller, body: object) -> None:
    error_of(alice("POST", "keys", body), 422)


def test_an_unknown_field_is_refused_and_the_known_are_named(alice: Caller) -> None:
    error = error_of(alice("POST", "keys", {"name": "ci", "scope": "inference"}), 422)

    assert error["param"] == "scope"
    assert "`scopes`" in error["message"]


@pytest.mark.parametrize("query", ["color=red", "limit=0", "limit=101", "limit=x", "limit=1&limit=2", "format=xml"])
def test_an_unknown_or_impossible_parameter_is_refused(alice: Caller, query: str) -> None:
    error = error_of(alice("GET", f"deployments?{query}"), 422)

    assert error["param"] == query.partition("=")[0]


def test_an_error_is_json_where_the_answer_would_have_been_text(alice: Caller) -> None:
    error_of(alice("GET", "deployments/none/environment", accept="text/plain"), 404)
    error_of(alice("GET", "statement?format=csv&period=soon"), 422)


def test_what_nobody_foresaw_is_an_envelope_without_particulars(caplog: pytest.LogCaptureFixture) -> None:
    class Leak(PublicView):
        def get(self, request: Request) -> None:
            raise OperationalError("password=hunter2")

    request = RequestFactory().get("/api/v1/leak")
    request.request_id = "req_1"  # type: ignore[attr-defined]

    answer = Leak.as_view()(request)

    assert answer.status_code == 500
    assert b"hunter2" not in answer.content
    assert json.loads(answer.content)["error"]["request_id"] == "req_1"
    assert "req_1" in caplog.text


def test_errors_outside_a_view_are_the_envelope_under_api_alone() -> None:
    api, console = RequestFactory().get("/api/nothing"), RequestFactory().get("/nothing")

    answers = [
        errors.page_not_found(api, Exception()),
        errors.server_error(api),
        errors.bad_request(api, RequestDataTooBig()),
    ]

    assert [answer.status_code for answer in answers] == [404, 500, 413]
    assert all("error" in json.loads(answer.content) for answer in answers)
    assert not errors.server_error(console)["content-type"].startswith("application/json")


def test_a_body_in_chunks_is_refused_rather_than_taken_for_none(alice: Caller) -> None:
    answer = alice("PUT", "deployments/demo", COMPOSE, **{"transfer-encoding": "chunked"})

    assert error_of(answer, 411)["code"] == "length_required"


def test_head_answers_like_get_without_a_body(cast: Cast) -> None:
    answer = calling(cast.alice, Scope.MANAGE)("HEAD", "deployments")

    assert (answer.status_code, answer.content) == (200, b"")
