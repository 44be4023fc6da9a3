"""What can be wrong with a question about usage.

PlatformError
├── NotFound
│   └── RequestNotFound
└── InvalidInput
    └── InvalidCursor
"""

from moorage.kernel import errors


class RequestNotFound(errors.NotFound):
    """There is no such request here. A request appears some seconds after its last byte; check the id."""

    code = "request_not_found"


class InvalidCursor(errors.InvalidInput):
    """This page does not exist. Start again at the first page."""

    code = "invalid_cursor"
