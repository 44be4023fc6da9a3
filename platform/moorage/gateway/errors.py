"""Everything the gateway may tell a client that is not an answer.

PlatformError
├── BadRequest              400: framing, target or header that is refused
│   └── BadField            400: a member of the body, named by its path
├── UnknownPath             404
├── ModelNotFound           404: unknown, somebody else's, or not for this key
├── HostRefused             404: the host name is another organization's, or nobody's
├── KeyReused 422 · AnsweredBefore, CutBefore 409: what an Idempotency-Key was used for before
├── KeyRefused              401     KeyLacksScope 403     OrganizationSuspended 402
├── TooSlow 408 · BodyTooLarge 413 · WrongMediaType 415 · ExpectationFailed 417 · HeadTooLarge 431
├── TookTooLong             504
├── EngineFailed            502 (EngineUnreachable)   EngineSilent 504     EngineRefused: the engine's own 4xx
└── Unavailable             503: with Retry-After
    ├── NotServing          paused, failed, or not awake in time: then with stage, percent and eta_seconds
    ├── QueueTimeout · EngineResting (its breaker is open)
    ├── QueueFull · JournalUnavailable · Starting · Stopping · TooManyConnections · EngineBusy · RetriesUnavailable
    ├── TooManyLargeRequests
    └── StillRunning        409: the first call with this Idempotency-Key has not ended
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from moorage.kernel.errors import PlatformError, envelope


class BadRequest(PlatformError):
    """The request is not well-formed HTTP, or uses a part of HTTP that is refused here."""

    code, status_code, type = "bad_request", 400, "invalid_request_error"


class BadField(BadRequest):
    """A member of the request body cannot be used."""

    code = "invalid_field"


class UnknownPath(PlatformError):
    """There is nothing here. GET /v1/models says at which paths of OpenAI's and Anthropic's APIs a model is served."""

    code, status_code, type = "unknown_url", 404, "invalid_request_error"


class ModelNotFound(PlatformError):
    """There is no such model for this API key. GET /v1/models lists those there are."""

    code, status_code, type = "model_not_found", 404, "invalid_request_error"


class HostRefused(PlatformError):
    """There is nothing for this API key under this host name. Use the one that the console shows for it."""

    code, status_code, type = "unknown_host", 404, "invalid_request_error"


class KeyReused(PlatformError):
    """This Idempotency-Key was used with another request. Send a new key with a new request."""

    code, status_code, type = "idempotency_key_reused", 422, "invalid_request_error"


class AnsweredBefore(PlatformError):
    """The request with this Idempotency-Key was answered before."""

    code, status_code, type = "already_answered", 409, "invalid_request_error"

    def __init__(self, *, request_id: str) -> None:
        #: The call that was answered; this answer bears its id.
        self.request_id = request_id
        super().__init__(
            f"The request with this Idempotency-Key was answered and billed once, as {request_id}. Answers are stored"
            " nowhere, so this one cannot be sent again; ask anew with another key."
        )


class CutBefore(PlatformError):
    """The first request with this Idempotency-Key was left by its client here; what it got is billed once. Use another
    key to ask anew."""

    code, status_code, type = "answer_incomplete", 409, "api_error"


class KeyRefused(PlatformError):
    """The API key is missing, unknown, expired or revoked. Send it as `Authorization: Bearer mk_live_…`."""

    code, status_code, type = "invalid_api_key", 401, "authentication_error"


class KeyLacksScope(PlatformError):
    """This API key may not call models. Create one with the scope `inference`."""

    code, status_code, type = "missing_scope", 403, "permission_error"


class OrganizationSuspended(PlatformError):
    """The organization is suspended. An owner can settle what is due on the billing page of the console."""

    code, status_code, type = "organization_suspended", 402, "insufficient_quota"


class TooSlow(PlatformError):
    """The request did not arrive in time. Send it again."""

    code, status_code, type = "request_timeout", 408, "invalid_request_error"


class BodyTooLarge(PlatformError):
    """The request body is larger than allowed."""

    code, status_code, type = "body_too_large", 413, "invalid_request_error"


class WrongMediaType(PlatformError):
    """The body must be sent as `Content-Type: application/json`."""

    code, status_code, type = "unsupported_media_type", 415, "invalid_request_error"


class ExpectationFailed(PlatformError):
    """Only `Expect: 100-continue` is understood."""

    code, status_code, type = "expectation_failed", 417, "invalid_request_error"


class HeadTooLarge(PlatformError):
    """The request has too many header bytes, or too many headers."""

    code, status_code, type = "headers_too_large", 431, "invalid_request_error"


class EngineFailed(PlatformError):
    """The model's engine failed while answering. Nothing undelivered is billed; try again."""

    code, status_code, type = "engine_failed", 502, "api_error"


class EngineUnreachable(EngineFailed):
    """The model's engine cannot be reached. Nothing is billed; try again."""


class EngineSilent(PlatformError):
    """The model's engine did not answer in time. Nothing undelivered is billed; try again."""

    code, status_code, type = "engine_timeout", 504, "api_error"


class TookTooLong(PlatformError):
    """The request took longer than any may. What was delivered is billed; ask for less at a time."""

    code, status_code, type = "total_time_exceeded", 504, "api_error"


class EngineRefused(PlatformError):
    """The model's engine refused the request."""

    code, status_code, type = "engine_refused", 400, "invalid_request_error"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status_code = status  # type: ignore[misc]  # one instance, one status of the engine


class Unavailable(PlatformError):
    """This cannot be served at the moment. Try again."""

    code, status_code, type = "unavailable", 503, "api_error"
    #: Seconds for the Retry-After header.
    retry_after = 5
    #: What a program may want to know, as members beside the message.
    details: Mapping[str, str | int | None] = {}

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: int | None = None,
        details: Mapping[str, str | int | None] | None = None,
    ) -> None:
        super().__init__(message)
        if retry_after is not None:
            self.retry_after = retry_after
        if details is not None:
            self.details = details


class NotServing(Unavailable):
    """The model is not serving."""

    code = "model_not_serving"


class QueueFull(Unavailable):
    """Too many requests are already waiting for this model."""

    code = "queue_full"


class QueueTimeout(Unavailable):
    """The model has as many requests as it answers at once, and this one's turn did not come in time. Try again."""

    code = "queue_timeout"


class EngineResting(Unavailable):
    """The model's engine has failed several times in a row and is left alone for a moment. Try again."""

    code, retry_after = "engine_resting", 1


class JournalUnavailable(Unavailable):
    """Usage cannot be recorded at the moment, so nothing billable is started. Try again."""

    code = "journal_unavailable"


class Stopping(Unavailable):
    """The gateway is stopping. Try again."""

    code, retry_after = "stopping", 1


class Starting(Unavailable):
    """The gateway has just started and does not know every key yet. Try again."""

    code, retry_after = "starting", 1


class TooManyConnections(Unavailable):
    """The gateway has as many connections as it can hold. Try again."""

    code, retry_after = "too_many_connections", 1


class TooManyLargeRequests(Unavailable):
    """The gateway keeps as many large requests, of all or of this organization, as it can. Try again."""

    code, retry_after = "too_many_large_requests", 1


class EngineBusy(Unavailable):
    """The model's engine takes no more requests at the moment. Try again."""

    code, retry_after = "engine_busy", 1


class RetriesUnavailable(Unavailable):
    """An Idempotency-Key cannot be honoured while the database is away, so nothing was started. Try again."""

    code, retry_after = "idempotency_unavailable", 2


class StillRunning(Unavailable):
    """The first request with this Idempotency-Key has not ended yet. Try again: its answer will be this one's."""

    code, status_code, type = "idempotency_key_in_use", 409, "invalid_request_error"
    retry_after = 1

    def __init__(self, *, request_id: str) -> None:
        #: The call that runs; this answer bears its id.
        self.request_id = request_id
        super().__init__()


class WithHeaders(PlatformError):
    """A refusal that says more in the head of its answer."""

    #: Whole header lines.
    headers: bytes = b""
    #: More members of the error's body.
    details: Mapping[str, str | int | None] = {}


def headers(error: PlatformError) -> bytes:
    """The header lines that go with an error."""
    if isinstance(error, WithHeaders):
        return error.headers
    return b"Retry-After: %d\r\n" % error.retry_after if isinstance(error, Unavailable) else b""


def body(error: PlatformError, request_id: str) -> bytes:
    """The JSON envelope of an error."""
    document: dict[str, dict[str, Any]] = {**envelope(error, request_id=request_id)}
    if isinstance(error, Unavailable | WithHeaders) and error.details:
        document["error"] = {**document["error"], **error.details}
    return msgspec.json.encode(document)


def event(error: PlatformError, request_id: str) -> bytes:
    """The error as a server-sent event, for a stream that has begun."""
    return b"data: " + body(error, request_id) + b"\n\n"
