"""One conversation with the REST API: where it is, the key, and its errors as sentences."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx

from moorage.kernel.errors import PlatformError

#: A little more than the longest wait that the API accepts.
_PATIENCE_SECONDS: Final = 930
#: A stream says something more often than this.
_SILENCE_SECONDS: Final = 40


class ApiRefused(PlatformError):
    """The API refused this."""

    code = "api_refused"

    def __init__(self, message: str, problems: list[dict[str, Any]]) -> None:
        super().__init__(message)
        self.problems = problems


class ApiUnreachable(PlatformError):
    """Nobody answers at the API's address. Check MOORAGE_API_URL and that Moorage runs."""

    code, permanent = "api_unreachable", False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Client:
    """The address (``…/api/v1``) and an API key with the scope manage."""

    url: str
    key: str
    transport: httpx.BaseTransport | None = None

    def call(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, json: Any = None
    ) -> dict[str, Any]:
        """The answer's document. Raises ApiRefused with the server's sentence, ApiUnreachable."""
        response = self._send(method, path, params, json)
        return dict(response.json()) if response.content else {}

    def text(self, path: str, *, params: Mapping[str, str] | None = None) -> str:
        """The answer's text. Raises as call does."""
        return self._send("GET", path, params, None).text

    def stream(self, path: str, *, params: Mapping[str, str] | None = None, last_event_id: str = "") -> Iterator[str]:
        """The lines of an answer that stays open; it may end, or break off, at any time. Raises ApiRefused."""
        headers = {"Authorization": f"Bearer {self.key}", "Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        try:
            with (
                httpx.Client(
                    transport=self.transport, headers=headers, timeout=httpx.Timeout(_SILENCE_SECONDS, connect=10)
                ) as http,
                http.stream("GET", self.url.rstrip("/") + path, params=dict(params or {})) as response,
            ):
                if response.is_error:
                    response.read()
                    raise _refusal(response)
                yield from response.iter_lines()
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
            return
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiUnreachable(f"{ApiUnreachable.__doc__} ({error})") from error

    def _send(self, method: str, path: str, params: Mapping[str, str] | None, json: Any) -> httpx.Response:
        try:
            with httpx.Client(
                transport=self.transport,
                headers={"Authorization": f"Bearer {self.key}"},
                timeout=httpx.Timeout(_PATIENCE_SECONDS, connect=10),
            ) as http:
                response = http.request(method, self.url.rstrip("/") + path, params=dict(params or {}), json=json)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ApiUnreachable(f"{ApiUnreachable.__doc__} ({error})") from error
        if response.is_error:
            raise _refusal(response)
        return response


def _refusal(response: httpx.Response) -> ApiRefused:
    try:
        error = response.json()["error"]
        return ApiRefused(str(error["message"]), list(error.get("problems") or []))
    except (ValueError, KeyError, TypeError):
        return ApiRefused(f"The API answered {response.status_code} without saying why.", [])
