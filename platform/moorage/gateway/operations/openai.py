"""OpenAI's chat completions, completions and embeddings: what both engines speak themselves."""

from collections.abc import Mapping
from typing import Final

from moorage.gateway import errors, request_body, whole_answer
from moorage.gateway.body import Body
from moorage.gateway.operation import worst_answer, worst_reading
from moorage.gateway.operations import kinds
from moorage.gateway.sse import EventFilter
from moorage.gateway.usage import Meter
from moorage.gateway.whole_answer import WholeAnswer
from moorage.kernel.errors import PlatformError
from moorage.wire.records import Route

_CHAT: Final = "/v1/chat/completions"


class OpenAI:
    """An Operation whose path the engine has too."""

    def __init__(self, path: str, *, kinds: frozenset[str], is_stream_possible: bool = True) -> None:
        self.path = path
        self.engine_paths: Mapping[str, str] = dict.fromkeys(("llamacpp", "vllm"), path)
        self.kinds = kinds
        self.is_stream_possible = is_stream_possible

    def serves(self, route: Route) -> bool:
        """Whether it is of the kind, and where there are messages, can read them."""
        return kinds.can_chat(route) if self.path == _CHAT else route.kind in self.kinds

    def parse(self, content: bytes) -> Body:
        """The checked body. Raises BadRequest or BadField."""
        return request_body.parse(self.path, content)

    def for_engine(self, body: Body, route: Route, *, cache_salt: str) -> bytes:
        """The same body with our members forced. Raises BadField."""
        if self.path == _CHAT:
            kinds.check_chat(self.path, body.members, route)
        else:
            kinds.check(self.path, self.kinds, route)
        return request_body.for_engine(body, route, cache_salt=cache_salt)

    def worst(self, body: Body, route: Route, size: int) -> tuple[int, int]:
        """The whole answer; nothing of one for embeddings."""
        return worst_answer(body, route, size) if self.is_stream_possible else worst_reading(body, route, size)

    def stream(self, meter: Meter, body: Body) -> EventFilter:
        """A filter of OpenAI's chunks."""
        return EventFilter(meter, keep_usage=body.wants_usage)

    def whole(self, status: int, content: bytes, body: Body, route: Route) -> WholeAnswer:
        """The engine's answer without its private members. Raises EngineRefused, EngineBusy or EngineFailed."""
        return whole_answer.read(status, content, body, route)

    def error(self, error: PlatformError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return errors.body(error, request_id)

    def error_event(self, error: PlatformError, request_id: str) -> bytes:
        """OpenAI's envelope as an event."""
        return errors.event(error, request_id)
