"""One connection to an engine: sends a request in one write, hands the answer on as it comes, is used again.

The engine is not trusted: its headers are read for status, media type and framing, and never forwarded.
"""

import asyncio
from typing import Any, Final, Protocol, cast

import httptools

_HEAD_BYTES_MAX: Final = 64 * 1024


class Receiver(Protocol):
    """Whoever waits for the answer. After ``answer_ended`` or ``engine_lost`` nothing more comes."""

    def answer_began(self, status: int, media_type: bytes) -> None:
        """The head is complete."""

    def answer_came(self, data: bytes) -> None:
        """A piece of the body, without any transfer framing."""

    def answer_ended(self) -> None:
        """The body is complete, by the rules of HTTP."""

    def engine_lost(self, *, is_unused: bool) -> None:
        """The connection broke, or broke the rules. ``is_unused``: before any byte of an answer."""


class UpstreamConnection(asyncio.Protocol):
    """At most one request at a time. ``is_open`` and ``is_free`` say whether it can take one."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._parser: Any = None
        self._pieces: list[bytes] = []
        self._media_type = b""
        self._head_bytes = 0
        self._has_head = self._has_framing = self._is_complete = False
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
        self._parser = httptools.HttpResponseParser(self)
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
        self._has_bytes = True
        had_head, is_broken = self._has_head, False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            is_broken = True
        if not self._has_head:
            self._head_bytes += len(data)
            if is_broken or self._head_bytes > _HEAD_BYTES_MAX:
                self._break()
            return
        if not had_head:
            if not self._has_framing:
                # An end that is only the end of the connection cannot be told from a crash.
                self._break()
                return
            receiver.answer_began(self._parser.get_status_code(), self._media_type)
        if self._pieces and self._receiver is receiver:
            pieces, self._pieces = self._pieces, []
            receiver.answer_came(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if is_broken and self._receiver is receiver:
            self._break()
        elif self._is_complete and self._receiver is receiver:
            if not self._is_kept_alive:
                assert self._transport is not None
                self._transport.close()
            self._receiver = None
            receiver.answer_ended()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.engine_lost(is_unused=not self._has_bytes)

    def _break(self) -> None:
        receiver = self._receiver
        self.abort()
        if receiver is not None:
            receiver.engine_lost(is_unused=False)

    # -- httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._has_head:
            return  # a trailer
        match name.lower():
            case b"content-type":
                self._media_type = value.partition(b";")[0].strip().lower()
            case b"content-length" | b"transfer-encoding":
                self._has_framing = True

    def on_headers_complete(self) -> None:
        self._has_head = True
        self._is_kept_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        self._is_complete = True
