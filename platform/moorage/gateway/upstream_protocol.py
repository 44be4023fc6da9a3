"""One connection to an engine: sends a request in one write, hands the answer on as it comes, is used again.

The engine is not trusted: its headers are read for status, media type and framing, and never forwarded.
"""

import asyncio
import dataclasses
import re
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import httptools

_HEAD_BYTES_MAX: Final = 64 * 1024
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n", re.IGNORECASE)


class Receiver(Protocol):
    """Whoever waits for the answer. After ``answer_ended`` or ``engine_lost`` nothing more comes."""

    def answer_began(self, status: int, media_type: bytes) -> None:
        """The head is complete."""

    def answer_came(self, pieces: list[bytes]) -> None:
        """What came of the body in one read, without any transfer framing. The list is not kept."""

    def answer_whole(self, status: int, content: bytes) -> None:
        """A JSON answer was complete in one read: this instead of all the others."""

    def answer_ended(self) -> None:
        """The body is complete, by the rules of HTTP."""

    def engine_lost(self, *, is_unused: bool) -> None:
        """The connection broke, or broke the rules. ``is_unused``: before any byte of an answer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _KnownAnswer:
    """The head of a whole answer, and the bytes around its length by which it is known again."""

    before: bytes
    after: bytes
    status: int
    start: int  #: where the length begins
    tail: int  #: bytes behind it
    reach: int  #: how far behind ``start`` the head may end


class UpstreamConnection:
    """At most one request at a time. ``is_open`` says whether it can take one."""

    __slots__ = (
        *("_has_bytes", "_has_framing", "_has_head", "_head_bytes", "_is_broken", "_is_complete", "_is_kept_alive"),
        *(
            "_is_reading_paused",
            "_known",
            "_media_type",
            "_parser",
            "_pieces",
            "_receiver",
            "_transport",
            "idle_since",
            "on_body",
        ),
    )

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._pieces: list[bytes] = []
        #: The parser calls it for each piece of a body: no Python in between.
        self.on_body: Callable[[bytes], None] | None = self._pieces.append
        self._parser: Any = httptools.HttpResponseParser(self)
        self._known: _KnownAnswer | None = None
        self._media_type = b""
        self._head_bytes = 0
        self._has_head = self._has_framing = self._is_complete = self._is_broken = False
        self._has_bytes = False
        self._is_kept_alive = False
        self._is_reading_paused = False
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether bytes can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, receiver: Receiver, request: bytes) -> None:
        """Send a whole request; ``receiver`` gets what comes back."""
        assert self._transport is not None and self._receiver is None
        self._receiver = receiver
        self._media_type = b""
        self._head_bytes = 0
        self._has_head = self._has_framing = self._is_complete = self._has_bytes = False
        self._transport.write(request)

    def abort(self) -> None:
        """Close at once. The engine stops working for a request whose connection is gone."""
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Take no more from the engine until ``resume``."""
        if self.is_open and not self._is_reading_paused:
            self._is_reading_paused = True
            assert self._transport is not None
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on after ``pause``."""
        if self._is_reading_paused:
            self._is_reading_paused = False
            if self.is_open:
                assert self._transport is not None
                self._transport.resume_reading()

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods without the base class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            # Nobody asked: what this connection would say next cannot be trusted.
            self.abort()
            return
        had_head = self._has_head
        if not had_head and not self._head_bytes and self._is_known_whole(data, receiver):
            return
        self._has_bytes = True
        first = data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._is_broken = True
        if not had_head and not self._begin(receiver, len(data)):
            return
        pieces = self._pieces
        if pieces and self._receiver is receiver:
            receiver.answer_came(pieces)
            pieces.clear()
        if self._receiver is not receiver:
            return
        if self._is_broken:
            self._break()
        elif self._is_complete:
            if not self._is_kept_alive:
                assert self._transport is not None
                self._transport.close()
            if not had_head and self._media_type == b"application/json":
                self._learn(first)
            self._receiver = None
            receiver.answer_ended()

    def _is_known_whole(self, data: bytes, receiver: Receiver) -> bool:
        """Whether that was a whole answer under the head that this engine sends, known but for its length."""
        known = self._known
        if known is None or not data.startswith(known.before):
            return False
        start = known.start
        end = data.find(known.after, start, start + known.reach)
        if end <= start or not (digits := data[start:end]).isdigit():
            return False
        begin = end + known.tail
        if len(data) - begin != int(digits):
            return False
        self._receiver = None
        receiver.answer_whole(known.status, data[begin:])
        return True

    def _learn(self, data: bytes) -> None:
        """Remember the head of a whole answer that came in one read."""
        place = _LENGTH.search(data)
        end = data.find(b"\r\n\r\n") + 4
        if self._is_kept_alive and not self._is_broken and place is not None and place.end() <= end:
            tail = end - place.end(1)
            self._known = _KnownAnswer(
                before=data[: place.start(1)],
                after=data[place.end(1) : end],
                status=self._parser.get_status_code(),
                start=place.start(1),
                tail=tail,
                reach=16 + tail,
            )

    def _begin(self, receiver: Receiver, size: int) -> bool:
        """Whether the head has come, and can be used; ``receiver`` is told."""
        if not self._has_head:
            self._head_bytes += size
            if self._is_broken or self._head_bytes > _HEAD_BYTES_MAX:
                self._break()
            return False
        if not self._has_framing:
            # An end that is only the end of the connection cannot be told from a crash.
            self._break()
            return False
        receiver.answer_began(self._parser.get_status_code(), self._media_type)
        return True

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """A request is whole already; whatever the engine does not take yet is kept."""

    def resume_writing(self) -> None:
        """See pause_writing."""

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._parser = self.on_body = None  # both refer back here
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.engine_lost(is_unused=not self._has_bytes)

    def _break(self) -> None:
        receiver = self._receiver
        self.abort()
        if receiver is not None:
            receiver.engine_lost(is_unused=False)

    # -- httptools

    def on_message_begin(self) -> None:
        if self._is_complete:
            # A second answer to one request.
            self._is_broken = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # a trailer
        match name.lower():
            case b"content-type":
                self._media_type = value.partition(b";")[0].strip().lower()
            case b"content-length" | b"transfer-encoding":
                self._has_framing = True

    def on_headers_complete(self) -> None:
        if self._is_complete:
            return
        self._has_head = True
        self._is_kept_alive = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        self._is_complete = True
