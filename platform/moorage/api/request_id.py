"""Every answer of the control plane carries an id that finds it in the log."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from moorage.kernel import ids


class RequestIdMiddleware:
    """Sets ``request.request_id`` and the header ``x-request-id``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """The id is ours: a client's own would let two requests share one."""
        request.request_id = ids.new("req")  # type: ignore[attr-defined]
        response = self.get_response(request)
        response["x-request-id"] = request.request_id  # type: ignore[attr-defined]
        return response
