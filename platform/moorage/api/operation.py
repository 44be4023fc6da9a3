"""One operation of the API, said once: what it reads, what it answers, which errors it has, and what it is for.

`@operation` both documents a view's method (the OpenAPI document is made from it; its description is the method's
docstring) and makes the view read its input by the same fields. So the document cannot say what the code does not do.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    PolymorphicProxySerializer,
    extend_schema,
)
from rest_framework import serializers

from moorage.api.errors import BodyTooLarge, LengthRequired, MalformedBody, ScopeMissing
from moorage.api.fields import Fields, NoFields
from moorage.compose.problems import SpecInvalid
from moorage.kernel import errors

Method = TypeVar("Method", bound=Callable[..., Any])
JSON: Final = "application/json"

#: What each part of a path means, for the document.
_PATH: Final = {
    "top_up_id": "Its id, from the answer that started it.",
    "name": "The deployment's name, unique in your organization.",
    "number": "The revision's number, counted from 1 in each deployment.",
    "replica_id": "The replica's id, `rep_…`.",
    "key_id": "The key's id, `key_…`.",
    "host": "The registry's host, with its port if it has one: `ghcr.io`, `registry.example:5000`.",
    "request_id": "The request's id, `req_…`: the header `x-request-id` of the gateway's answer.",
    "slug": "The organization's short name.",
    "invoice_id": "The invoice's id, `inv_…`.",
    "approval_id": "The request's id, `apr_…`.",
    "job": "`R1` to `R8`.",
    "anomaly_id": "The anomaly's number.",
    "message_id": "The message's id, `out_…`.",
    "event_id": "The event's id at the payment provider.",
    "push_id": "The push's id, `psh_…`.",
    "refund_id": "The refund's id, `ref_…`.",
    "kind": "`pdf`, `csv` or `json`.",
    "credit_note_id": "The credit note's id, `cn_…`.",
    "price_id": "The price's id, `pri_…`.",
}


class ErrorProblemSerializer(serializers.Serializer):
    """One finding in a Compose file."""

    path = serializers.CharField(allow_blank=True, help_text="The key, such as `models.llm.model`.")
    line = serializers.IntegerField(help_text="Counted from 1.")
    column = serializers.IntegerField(help_text="Counted from 1.")
    message = serializers.CharField(help_text="What is wrong and what to do.")
    severity = serializers.ChoiceField(choices=["error", "warning"])


class ErrorDetailSerializer(serializers.Serializer):
    """What went wrong: a sentence for people, a code for programs."""

    type = serializers.CharField(help_text="OpenAI's coarse class, such as `invalid_request_error`.")
    code = serializers.CharField(help_text="Stable; branch on this.")
    message = serializers.CharField(help_text="A sentence that says what to do.")
    param = serializers.CharField(allow_null=True, help_text="The field, parameter or key it is about.")
    request_id = serializers.CharField(
        allow_null=True, help_text="Also the header `x-request-id`; finds it in the log."
    )
    problems = ErrorProblemSerializer(many=True, required=False, help_text="With the code `spec_invalid`: all of them.")


class ErrorEnvelopeSerializer(serializers.Serializer):
    """The one shape of every error."""

    error = ErrorDetailSerializer()


class UnsupportedMediaType(errors.PlatformError):
    """This address does not read this Content-Type. /api/v1/openapi.json says what it reads."""

    code, status_code, type = "unsupported_media_type", 415, "invalid_request_error"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One way an operation succeeds. ``kind`` None: no body."""

    description: str
    kind: type[serializers.Serializer] | PolymorphicProxySerializer | None = None
    example: Any = None
    #: Further examples by name.
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    #: Other formats of the same answer: media type -> example text.
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """How a view's method reads its input."""

    query: type[Fields]
    body: type[Fields] | None
    #: Query parameters that begin with this are the view's own business.
    prefix: str
    is_public: bool


def operation(
    *,
    id: str,
    tag: str,
    summary: str,
    answers: Mapping[int, Answer],
    path: Sequence[str] = (),
    query: type[Fields] = NoFields,
    body: type[Fields] | None = None,
    body_example: Any = None,
    other_bodies: Mapping[str, str] | None = None,
    parameters: Sequence[OpenApiParameter] = (),
    prefix: str = "",
    raises: Iterable[type[errors.PlatformError]] = (),
    is_public: bool = False,
    needs_scope: bool = True,
) -> Callable[[Method], Method]:
    """Documents a view's method and sets how its input is read. ``other_bodies``: media type -> example text, for a
    body that is not JSON; the view reads such a body itself. ``raises``: besides what every operation may answer."""
    own = tuple(raises)
    takes_body = body is not None or other_bodies is not None
    always: list[type[errors.PlatformError]] = [errors.PlatformError]
    if not is_public:
        always += [errors.Unauthenticated, errors.InvalidInput]
        always += [ScopeMissing] if needs_scope else []
    if takes_body:
        always += [MalformedBody, LengthRequired, BodyTooLarge, UnsupportedMediaType]
    responses, examples = _answers(answers)
    _add_errors(responses, examples, (*own, *(kind for kind in always if kind not in own)))
    request: Any = None
    if takes_body:
        request = {JSON: body} if body else {}
        request |= dict.fromkeys(other_bodies or {}, OpenApiTypes.STR)
        if body is not None:
            examples.append(OpenApiExample("JSON", value=body_example, request_only=True, media_type=JSON))
        for media_type, text in (other_bodies or {}).items():
            examples.append(OpenApiExample("Compose", value=text, request_only=True, media_type=media_type))

    def decorate(method: Method) -> Method:
        assert method.__doc__, f"{id} has no description"
        method.operation = Operation(  # type: ignore[attr-defined]
            query=query, body=None if other_bodies else body, prefix=prefix, is_public=is_public
        )
        extend = extend_schema(
            operation_id=id,
            tags=[tag],
            summary=summary,
            description=inspect.cleandoc(method.__doc__),
            parameters=[
                *(OpenApiParameter(name, _type(name), OpenApiParameter.PATH, description=_PATH[name]) for name in path),
                *([query] if query is not NoFields else []),
                *parameters,
                # The Accept header chooses the format, except where an operation has such a parameter of its own.
                *([] if "format" in query().fields else [OpenApiParameter("format", exclude=True)]),
            ],
            request=request,
            responses=responses,
            examples=examples,
            auth=[] if is_public else None,
        )
        return extend(method)

    return decorate


def _answers(answers: Mapping[int, Answer]) -> tuple[dict[Any, Any], list[OpenApiExample]]:
    responses: dict[Any, Any] = {}
    examples: list[OpenApiExample] = []
    for status, answer in answers.items():
        if answer.kind is None and not answer.texts:
            responses[status] = OpenApiResponse(description=answer.description)
            continue
        if answer.kind is not None:
            responses[status, JSON] = OpenApiResponse(answer.kind, description=answer.description)
            for name, value in {f"{status}": answer.example, **answer.more}.items():
                examples.append(
                    OpenApiExample(name, value=value, response_only=True, status_codes=[str(status)], media_type=JSON)
                )
        for media_type, text in answer.texts.items():
            responses[status, media_type] = OpenApiResponse(OpenApiTypes.STR, description=answer.description)
            examples.append(
                OpenApiExample(
                    f"{status} {media_type}",
                    value=text,
                    response_only=True,
                    status_codes=[str(status)],
                    media_type=media_type,
                )
            )
    return responses, examples


def _add_errors(
    responses: dict[Any, Any], examples: list[OpenApiExample], kinds: Sequence[type[errors.PlatformError]]
) -> None:
    by_status: dict[int, list[type[errors.PlatformError]]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status_code, []).append(kind)
    for status, found in sorted(by_status.items()):
        codes = ", ".join(f"`{kind.code}`" for kind in found)
        responses[status, JSON] = OpenApiResponse(ErrorEnvelopeSerializer, description=f"Codes: {codes}.")
        for kind in found:
            examples.append(
                OpenApiExample(
                    kind.code, value=_error(kind), response_only=True, status_codes=[str(status)], media_type=JSON
                )
            )


def _error(kind: type[errors.PlatformError]) -> dict[str, Any]:
    sentence = " ".join((kind.__doc__ or "").split())
    found: dict[str, Any] = {
        "type": kind.type,
        "code": kind.code,
        "message": sentence,
        "param": None,
        "request_id": "req_01k7wq0c9v7h3t5a2m8xj4n6bd",
    }
    if issubclass(kind, SpecInvalid):
        message = "Write it like ai/smollm2:360M-Q4_K_M or catalog/harbour:q8_0."
        found |= {
            "param": "models.llm.model",
            "problems": [
                {"path": "models.llm.model", "line": 3, "column": 12, "message": message, "severity": "error"}
            ],
        }
    return {"error": found}


def _type(name: str) -> Any:
    return OpenApiTypes.INT if name in ("number", "anomaly_id") else OpenApiTypes.STR
