"""Every error of the REST API in one envelope, whoever raised it: a room, DRF, Django, or nobody on purpose.

PlatformError
├── Refused
│   └── ScopeMissing           403: the key does not open this door
├── BodyTooLarge               413
├── LengthRequired             411
├── MalformedBody              400: what was sent is not what its content type says
├── DeploymentFailed           409: waited for, and it will not become ready by itself
├── WaitTimeout                504: not there yet; it goes on without the caller
└── TooManyWaiting             503: every place for waiting callers is taken

DRF's own exceptions become Problem, which borrows its code and status from them.
"""

import logging
from collections.abc import Iterable
from typing import Any, Final

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views import defaults
from rest_framework import exceptions

from moorage.compose.problems import SpecInvalid
from moorage.kernel import errors

logger = logging.getLogger(__name__)

_API: Final = "/api/"


class ScopeMissing(errors.Refused):
    """This API key does not have the scope that this address needs. Use another key, or make one with the scope."""

    code = "scope_missing"


class BodyTooLarge(errors.PlatformError):
    """The body is larger than this address takes. A Compose file has at most 64 KiB."""

    code, status_code, type = "body_too_large", 413, "invalid_request_error"


class LengthRequired(errors.PlatformError):
    """The body came in chunks, so its length was not known beforehand. Send it with a Content-Length."""

    code, status_code, type = "length_required", 411, "invalid_request_error"


class MalformedBody(errors.PlatformError):
    """The body is not what its Content-Type says. Correct it and send it again."""

    code, status_code, type = "malformed_body", 400, "invalid_request_error"


class DeploymentFailed(errors.Conflict):
    """The deployment did not become ready. Its `reason` and its replicas' logs say why."""

    code = "deployment_failed"


class WaitTimeout(errors.PlatformError):
    """It is not there yet, and goes on without you. Look again with GET, or wait with a larger `timeout`."""

    code, status_code = "wait_timeout", 504
    permanent = False


class TooManyWaiting(errors.PlatformError):
    """The change is accepted, but every place for waiting callers is taken. Look again with GET in some seconds."""

    code, status_code = "too_many_waiting", 503
    permanent = False


class Problem(errors.PlatformError):
    """The request could not be answered."""

    def __init__(self, message: str, *, code: str, status_code: int, type: str) -> None:
        super().__init__(message)
        # One class for all of DRF's exceptions: code, status and type belong to the instance here.
        self.code = code  # type: ignore[misc]
        self.status_code = status_code  # type: ignore[misc]
        self.type = type  # type: ignore[misc]


_SENTENCES: Final = {
    exceptions.MethodNotAllowed: "This address does not take {method}. The header Allow names what it takes.",
    exceptions.UnsupportedMediaType: "This address does not read this Content-Type."
    " /api/v1/openapi.json says what it reads.",
    exceptions.NotAcceptable: "This address has no answer in a format that your Accept header allows.",
}


def handle(exc: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's exception handler (settings.EXCEPTION_HANDLER): any exception as an answer; the unforeseen is logged."""
    request = context["request"]
    error = translate(exc)
    if error is None:
        logger.error("request_failed request_id=%s path=%s", _request_id(request), request.path, exc_info=exc)
        error = errors.PlatformError()
    return answer(request, error, headers=_headers(exc, error, context["view"].allowed_methods))


def translate(exc: BaseException) -> errors.PlatformError | None:
    """``exc`` as something a person reads; None for what nobody foresaw."""
    match exc:
        case errors.PlatformError():
            return exc
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.Unauthenticated()
        case exceptions.PermissionDenied() | PermissionDenied():
            return errors.Refused()
        case exceptions.NotFound() | Http404():
            return errors.NotFound("There is no such address. /api/v1/openapi.json lists them all.")
        case exceptions.ValidationError():
            return _invalid(exc)
        case exceptions.ParseError() | UnreadablePostError():
            return MalformedBody()
        case RequestDataTooBig():
            return BodyTooLarge()
        case exceptions.MethodNotAllowed():
            method = str(exc.args[0]) if exc.args else "this method"
            return _problem(exc, _SENTENCES[exceptions.MethodNotAllowed].format(method=method))
        case exceptions.APIException():
            return _problem(exc, _SENTENCES.get(type(exc), str(exc.detail)))
        case _:
            return None


def answer(request: HttpRequest, error: errors.PlatformError, *, headers: dict[str, str] | None = None) -> HttpResponse:
    """The envelope as JSON, whatever format the answer would have had."""
    document: dict[str, Any] = dict(errors.envelope(error, request_id=_request_id(request)))
    if isinstance(error, SpecInvalid):
        document["error"]["problems"] = [vars(problem).copy() for problem in error.problems]
    response = JsonResponse(
        document, status=error.status_code, headers=headers, json_dumps_params={"ensure_ascii": False}
    )
    response["Cache-Control"] = "no-store"
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler400: what was refused before a view was chosen."""
    if not request.path.startswith(_API):
        return defaults.bad_request(request, exception)
    error = BodyTooLarge() if isinstance(exception, RequestDataTooBig) else MalformedBody("The request is malformed.")
    return answer(request, error)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's handler404."""
    if not request.path.startswith(_API):
        return defaults.page_not_found(request, exception)
    return unknown_address(request)


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's handler500: Django has logged the exception already."""
    return answer(request, errors.PlatformError()) if request.path.startswith(_API) else defaults.server_error(request)


def unknown_address(request: HttpRequest, *_: object, **__: object) -> HttpResponse:
    """The answer at every address under /api/ that is none."""
    return answer(request, errors.NotFound("There is no such address. /api/v1/openapi.json lists them all."))


def _problem(exc: exceptions.APIException, sentence: str) -> Problem:
    return Problem(
        sentence,
        code=str(exc.default_code),
        status_code=exc.status_code,
        type="invalid_request_error" if exc.status_code < 500 else "api_error",
    )


def _invalid(exc: exceptions.ValidationError) -> errors.InvalidInput:
    found = list(_flat(exc.detail, ""))
    sentences = [f"{path}: {text}" if path else text for path, text in found]
    return errors.InvalidInput(" ".join(sentences) or None, param=(found[0][0] or None) if found else None)


def _flat(detail: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(detail, dict):
        return [
            pair
            for key, inner in detail.items()
            for pair in _flat(inner, path if key == "non_field_errors" else f"{path}.{key}".lstrip("."))
        ]
    if isinstance(detail, list):
        return [pair for inner in detail for pair in _flat(inner, path)]
    return [(path, str(detail))]


def _headers(exc: BaseException, error: errors.PlatformError, allowed: Iterable[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.status_code == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="moorage"'
    if isinstance(exc, exceptions.MethodNotAllowed):
        headers["Allow"] = ", ".join(allowed)
    if isinstance(error, TooManyWaiting):
        headers["Retry-After"] = "5"
    return headers


def _request_id(request: HttpRequest) -> str | None:
    return getattr(request, "request_id", None)
