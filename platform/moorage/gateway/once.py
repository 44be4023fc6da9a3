"""A call under an Idempotency-Key: stands between its connection and its exchange, and keeps what goes out.

    find -> (replay) | begin -> claimed -> exchange runs -> end

To the connection it is the exchange, to the exchange it is the client. Calls without the header never come here.
"""

from collections.abc import Callable
from typing import Final, Protocol

from moorage.gateway import errors
from moorage.gateway.chunks import Chunks
from moorage.gateway.client import Client
from moorage.gateway.idempotency import Claim
from moorage.gateway.operation import Operation
from moorage.gateway.parts import Parts
from moorage.kernel.errors import PlatformError
from moorage.wire.records import UsageEvent

_REPLAYED: Final = b"Idempotency-Replayed: true\r\n"


class Running(Protocol):
    """What an exchange does for its connection."""

    #: How it was settled, once it is.
    event: UsageEvent | None

    def start(self) -> None: ...

    def client_gone(self) -> None: ...

    def client_stalled(self) -> None: ...

    def client_resumed(self) -> None: ...


class OnceCall(Client):
    """One call under one key."""

    __slots__ = ("_claim", "_connection", "_exchange", "_is_ended", "_parts")

    def __init__(self, parts: Parts, connection: Client, claim: Claim) -> None:
        self._parts = parts
        self._connection = connection
        self._claim = claim
        self._exchange: Running | None = None
        self._is_ended = False

    def start(self, exchange: Running, *, request_id: str, refuse: Callable[[PlatformError], None]) -> None:
        """Claim the key, then start ``exchange``. ``refuse`` is called instead where either is refused."""

        def told(refusal: PlatformError | None) -> None:
            if refusal is not None:
                refuse(refusal)
                return
            self._exchange = exchange
            try:
                exchange.start()
            except PlatformError as error:
                self._end()
                refuse(error)

        self._parts.idempotency.begin(self._claim, request_id=request_id, then=told)

    # -- for the connection

    def client_gone(self) -> None:
        """As Exchange has it; also before the key is claimed."""
        if self._exchange is None:
            self._parts.idempotency.abandon(self._claim)
            return
        # What was settled before waits for the disk and ends by itself.
        is_open = self._exchange.event is None
        self._exchange.client_gone()
        if is_open:
            self._end()

    def client_stalled(self) -> None:
        """As Exchange has it."""
        if self._exchange is not None:
            self._exchange.client_stalled()

    def client_resumed(self) -> None:
        """As Exchange has it."""
        if self._exchange is not None:
            self._exchange.client_resumed()

    # -- for the exchange

    def begin_stream(self, headers: bytes = b"") -> None:
        """As Client has it."""
        self._claim.status, self._claim.is_stream = 200, True
        self._connection.begin_stream(headers)

    def send_stream(self, data: bytes) -> None:
        """As Client has it."""
        self._parts.idempotency.note(self._claim, data)
        self._connection.send_stream(data)

    def send_chunks(self, chunks: Chunks) -> None:
        """As Client has it."""
        self._parts.idempotency.note(self._claim, b"".join(chunks.pieces()))
        self._connection.send_chunks(chunks)

    def ends_soon(self) -> None:
        """As Client has it."""
        self._connection.ends_soon()

    def let_go_of_body(self) -> None:
        """As Client has it."""
        self._connection.let_go_of_body()

    def end_stream(self, data: bytes, *, must_close: bool = False) -> None:
        """As Client has it."""
        self._parts.idempotency.note(self._claim, data)
        self._claim.is_whole = True
        self._end()
        self._connection.end_stream(data, must_close=must_close)

    def answer(self, status: int, content: bytes, headers: bytes = b"") -> None:
        """As Client has it."""
        self._claim.status, self._claim.is_whole = status, True
        self._parts.idempotency.note(self._claim, content)
        self._end()
        self._connection.answer(status, content, headers)

    def answer_error(self, error: PlatformError) -> None:
        """As Client has it."""
        self._end()
        self._connection.answer_error(error)

    def abort(self) -> None:
        """As Client has it."""
        self._connection.abort()

    def _end(self) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        event = self._exchange.event if self._exchange is not None else None
        is_used = event is not None and (event.outcome == "completed" or event.input_tokens + event.output_tokens > 0)
        self._parts.idempotency.end(self._claim, is_used=is_used, now=self._parts.loop.time())


def find(
    parts: Parts, connection: Client, operation: Operation, value: bytes, *, key_id: str, content: bytes
) -> Claim | None:
    """The claim that a call with the header ``value`` makes, or None: it was answered before, and now is again.

    Raises BadRequest, KeyReused, StillRunning or RetriesUnavailable.
    """
    claim = parts.idempotency.read(value, key_id=key_id, path=operation.path, content=content)
    kept = parts.idempotency.find(claim)
    if kept is None:
        return claim
    assert kept.pieces is not None
    connection.take_request_id(kept.request_id)
    parts.access_log.write("request_replayed", request=kept.request_id, path=operation.path, key=key_id)
    said = b"".join(kept.pieces)
    if not kept.is_stream:
        connection.answer(kept.status, said, _REPLAYED)
        return None
    if not kept.is_whole:
        said += operation.error_event(errors.CutBefore(), kept.request_id)
    connection.begin_stream(_REPLAYED)
    connection.end_stream(said)
    return None
