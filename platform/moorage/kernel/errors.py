"""Errors that a person reads.

PlatformError          a sentence, a stable code, an HTTP status
├── NotFound           404: unknown, or somebody else's
├── Refused            403: known caller, not allowed
├── Unauthenticated    401: no valid credential
├── Conflict           409: the present state forbids it
└── InvalidInput       422: the caller has to change something

Rooms subclass these; the docstring of a class is its message when none is given. Programming mistakes are
asserts or crash; they are not in this tree.
"""

from typing import ClassVar


class PlatformError(Exception):
    """Something went wrong on our side. Try again; if it stays, tell the administrator the request id."""

    code: ClassVar[str] = "platform_error"
    status_code: ClassVar[int] = 500
    #: OpenAI's coarse class of the error, for the envelope's ``type``.
    type: ClassVar[str] = "api_error"
    #: Whether trying again without changing anything is pointless.
    permanent: bool = True

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        self.message = message or " ".join((type(self).__doc__ or type(self).__name__).split())
        self.param = param
        super().__init__(self.message)


class NotFound(PlatformError):
    """There is no such thing here. Check the name or the id."""

    code, status_code, type = "not_found", 404, "invalid_request_error"


class Refused(PlatformError):
    """You may not do this. Ask an owner of the organization."""

    code, status_code, type = "refused", 403, "permission_error"


class Unauthenticated(PlatformError):
    """No valid API key was sent. Send it as `Authorization: Bearer mk_live_…`."""

    code, status_code, type = "unauthenticated", 401, "authentication_error"


class Conflict(PlatformError):
    """This does not fit the present state. Look at it again and decide."""

    code, status_code, type = "conflict", 409, "invalid_request_error"


class InvalidInput(PlatformError):
    """The request cannot be understood. Correct it and send it again."""

    code, status_code, type = "invalid_input", 422, "invalid_request_error"


def envelope(error: PlatformError, *, request_id: str | None = None) -> dict[str, dict[str, str | None]]:
    """The one error shape of every door: OpenAI's, plus the request id."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "code": error.code,
            "param": error.param,
            "request_id": request_id,
        }
    }
