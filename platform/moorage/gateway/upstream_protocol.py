"""One connection to an engine: sends a request in one write, hands the answer on as it comes, is used again.

The engine is not trusted: its headers are read for status, media type and framing, and never forwarded.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

import httptools

from moorage.gateway import chunks
from moorage.gateway.chunks import Chunks
from moorage.gateway.known_answer import KnownAnswer, KnownStream
from moorage.gateway.receiver import Receiver

_HEAD_BYTES_MAX: Final = 64 * 1024
_EVENTS: Final = b"text/event-stream"


class UpstreamConnection:
    """At most one request at a time. ``is_open`` says whether it can take one."""

    __slots__ = (
        *("_has_bytes", "_has_framing", "_has_head", "_head_bytes", "_is_broken", "_is_complete", "_is_kept_alive"),
        *(
            "_is_reading_paused",
            "_is_unparsed",
            "_known",
            "_media_type",
            "_parser",
            "_pieces",
            "_receiver",
            "_stream",
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
        self._known: KnownAnswer | None = None
        self._stream: KnownStream | None = None
        #: The parser has not seen the answer that comes: its head is known, and so far all of it was plain chunks.
        self._is_unparsed = False
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
        self._is_unparsed = False
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
        if self._is_unparsed:
            if self._are_plain_chunks(data, receiver):
                return
            self._begin_parsing()
        elif not had_head and not self._head_bytes and self._is_known(data, receiver):
            return
        self._has_bytes = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._is_broken = True
        if not had_head and not self._begin(receiver, data):
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
            if not had_head and self._is_kept_alive and self._media_type == b"application/json":
                self._known = KnownAnswer.of(data, self._parser.get_status_code()) or self._known
            self._receiver = None
            receiver.answer_ended()

    def _is_known(self, data: bytes, receiver: Receiver) -> bool:
        """Whether an answer begins as those before it did, and its receiver has been told what there is of it."""
        if self._is_known_whole(data, receiver):
            return True
        known = self._stream
        return known is not None and data.startswith(known.head) and self._is_known_stream(known, data, receiver)

    def _is_known_stream(self, known: KnownStream, data: bytes, receiver: Receiver) -> bool:
        """Whether plain chunks follow a stream's head, and nothing else."""
        at = len(known.head)
        found = chunks.find(data, at)
        if not found.is_plain:
            return False
        self._has_head = self._has_bytes = self._is_unparsed = True
        receiver.answer_began(200, _EVENTS)
        if self._receiver is receiver:
            self._pass_on(Chunks(data, at, found.end, found.count, is_last=found.is_last), receiver)
        return True

    def _are_plain_chunks(self, data: bytes, receiver: Receiver) -> bool:
        """Whether a stream goes on with plain chunks, and nothing else."""
        found = chunks.find(data, 0)
        if found.is_plain:
            self._pass_on(Chunks(data, 0, found.end, found.count, is_last=found.is_last), receiver)
        return found.is_plain

    def _pass_on(self, found: Chunks, receiver: Receiver) -> None:
        if found.count >= chunks.MANY:
            receiver.answer_in_chunks(found)
        elif found.count:
            receiver.answer_came(found.pieces())
        if found.is_last and self._receiver is receiver:
            self._receiver = None
            receiver.answer_ended()

    def _begin_parsing(self) -> None:
        """Something else than a plain chunk has come: for the parser, the stream begins here."""
        known = self._stream
        assert known is not None
        self._is_unparsed = False
        self._parser.feed_data(known.head)

    def _is_known_whole(self, data: bytes, receiver: Receiver) -> bool:
        """Whether that was a whole answer under the head that this engine sends, known but for its length."""
        known = self._known
        begin = known.body_at(data) if known is not None else 0
        if known is None or not begin:
            return False
        self._receiver = None
        receiver.answer_whole(known.status, data[begin:])
        return True

    def _begin(self, receiver: Receiver, data: bytes) -> bool:
        """Whether the head has come, and can be used; ``receiver`` is told."""
        if not self._has_head:
            self._head_bytes += len(data)
            if self._is_broken or self._head_bytes > _HEAD_BYTES_MAX:
                self._break()
            return False
        if not self._has_framing:
            # An end that is only the end of the connection cannot be told from a crash.
            self._break()
            return False
        status = self._parser.get_status_code()
        is_first_read = not self._head_bytes
        if status == 200 and self._media_type == _EVENTS and is_first_read and self._is_kept_alive:
            self._stream = KnownStream.of(data) or self._stream
        receiver.answer_began(status, self._media_type)
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
