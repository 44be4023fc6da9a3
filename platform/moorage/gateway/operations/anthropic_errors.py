"""Errors in Anthropic's shape: ``{"type": "error", "error": {"type", "message"}, "request_id"}``.

Types by status: https://docs.anthropic.com/en/api/errors.
"""

from typing import Final

import msgspec

from moorage.kernel.errors import PlatformError

_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def body(error: PlatformError, request_id: str) -> bytes:
    """The JSON body of an error."""
    kind = _TYPES.get(error.status_code, "api_error" if error.status_code >= 500 else "invalid_request_error")
    inner = {"type": kind, "message": error.message}
    return msgspec.json.encode({"type": "error", "error": inner, "request_id": request_id})


def event(error: PlatformError, request_id: str) -> bytes:
    """The error as a server-sent event, for a stream that has begun."""
    return b"event: error\ndata: " + body(error, request_id) + b"\n\n"
