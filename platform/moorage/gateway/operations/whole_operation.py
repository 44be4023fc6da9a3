"""What operations without a stream have in common."""

from moorage.gateway import errors, whole_answer
from moorage.gateway.body import Body
from moorage.gateway.operation import StreamFilter
from moorage.gateway.usage import Meter
from moorage.kernel.errors import PlatformError
from moorage.wire.records import Route


class WholeOperation:
    """An Operation with answers in one piece, and errors in OpenAI's shape."""

    is_stream_possible = False
    kinds: frozenset[str] = frozenset()

    def serves(self, route: Route) -> bool:
        """Whether it is of a kind that can be asked this."""
        return route.kind in self.kinds

    def worst(self, body: Body, route: Route, size: int) -> tuple[int, int]:  # noqa: ARG002 - nothing is billed
        """Nothing."""
        return 0, 0

    def stream(self, meter: Meter, body: Body) -> StreamFilter:
        """Never asked for: no body of theirs is a stream."""
        raise NotImplementedError

    def error(self, error: PlatformError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return errors.body(error, request_id)

    def error_event(self, error: PlatformError, request_id: str) -> bytes:
        """The same as an event."""
        return errors.event(error, request_id)


def content_of(status: int, content: bytes, body: Body, route: Route) -> bytes:
    """The engine's answer where it is not billed. Raises EngineRefused, EngineBusy or EngineFailed."""
    return whole_answer.read(status, content, body, route).content
