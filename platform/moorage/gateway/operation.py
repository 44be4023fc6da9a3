"""The port of an API surface: what one path takes, what the engine is asked, and how its answer is read.

The exchange knows no path. It calls an operation, which is stateless and shared by all requests to its path.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from moorage.gateway.body import Body
from moorage.gateway.chunks import Chunks, Passage
from moorage.gateway.usage import Meter
from moorage.gateway.whole_answer import WholeAnswer
from moorage.kernel.errors import PlatformError
from moorage.wire.records import Route

_NO_LIMIT: Final = 1 << 40


def worst_answer(body: Body, route: Route, size: int) -> tuple[int, int]:
    """The worst case of a generated answer."""
    context = route.context_size or _NO_LIMIT
    limit = body.output_limit
    # A token is at least a byte; what a chat template adds is bounded by the context alone.
    return min(context * body.inputs, size), (
        (context if limit is None or limit > context else limit) * body.choices * body.inputs
    )


def worst_reading(body: Body, route: Route, size: int) -> tuple[int, int]:
    """The worst case of prompts that are only read."""
    return min((route.context_size or _NO_LIMIT) * body.inputs, size), 0


class StreamFilter(Protocol):
    """One stream on its way from engine to client: counted by ``meter``, rid of what nobody asked for."""

    meter: Meter
    #: The engine has said its last event; what follows is not passed on.
    is_done: bool
    #: The engine reported an error inside the stream.
    has_error: bool
    #: Events that were dropped because they could not be read.
    malformed: int

    def feed(self, data: bytes) -> bytes:
        """What may go to the client now. Raises FrameTooLarge."""

    def feed_pieces(self, pieces: list[bytes]) -> bytes:
        """The same of bytes in pieces. The list is not kept."""

    def feed_chunks(self, chunks: Chunks) -> Passage:
        """The same of many chunks that were not taken apart yet."""

    @property
    def last(self) -> bytes:
        """The event that ends the stream, held back until usage is on disk."""


class Operation(Protocol):
    """One path of the API."""

    #: What clients call: ``/v1/chat/completions``.
    path: str
    #: What each engine is asked: llamacpp and vllm.
    engine_paths: Mapping[str, str]
    #: The kinds of route that can serve it: chat, embedding, rerank.
    kinds: frozenset[str]
    is_stream_possible: bool

    def serves(self, route: Route) -> bool:
        """Whether ``route`` can be asked this at all. What a request asks beyond it is checked by ``for_engine``."""

    def parse(self, content: bytes) -> Body:
        """The checked body. Raises BadRequest or BadField."""

    def for_engine(self, body: Body, route: Route, *, cache_salt: str) -> bytes:
        """The body that the engine gets. Raises BadField where the model cannot do what is asked."""

    def worst(self, body: Body, route: Route, size: int) -> tuple[int, int]:
        """The most tokens in and out that ``body``, which came as ``size`` bytes, can be billed."""

    def stream(self, meter: Meter, body: Body) -> StreamFilter:
        """A filter for one streamed answer."""

    def whole(self, status: int, content: bytes, body: Body, route: Route) -> WholeAnswer:
        """An answer in one piece. Raises EngineRefused, EngineBusy or EngineFailed."""

    def error(self, error: PlatformError, request_id: str) -> bytes:
        """The JSON body of an error, in the shape of this API."""

    def error_event(self, error: PlatformError, request_id: str) -> bytes:
        """The same for a stream that has begun."""
