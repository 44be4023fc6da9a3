"""One client connection: reads strictly, one request at a time, answers in OpenAI's shapes.

The head is cut off at its blank line and the body at its length before the parser sees them, so bytes of a next request
are never read while one is in flight: they wait in a small buffer, and reading stops when that is full.
"""

import asyncio
import socket
import time
from typing import Any, Final, cast

import httptools
import msgspec

from moorage.gateway import errors, request_body, responses
from moorage.gateway.errors import BadRequest, BodyTooLarge, HeadTooLarge, TooSlow
from moorage.gateway.exchange import Exchange
from moorage.gateway.metrics import CONTENT_TYPE as METRICS_TYPE
from moorage.gateway.parts import Parts
from moorage.gateway.request_head import MODELS, OPERATIONS, RequestHead
from moorage.gateway.routes import model_document, model_list
from moorage.kernel import ids
from moorage.kernel.errors import PlatformError
from moorage.wire.records import KeyGrant

_END_OF_HEAD: Final = b"\r\n\r\n"
_READ_AHEAD: Final = 64 * 1024
_HIGH_WATER: Final = 64 * 1024
#: A refused body up to this size is swallowed, so that the connection can go on.
_SWALLOW: Final = 64 * 1024
#: How long a connection that is being closed may still take its last answer.
_LINGER_SECONDS: Final = 2.0
_NEVER: Final = float("inf")


class ClientProtocol(asyncio.Protocol):
    """States: reading a head, reading a body, busy with an answer, closing."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._buffer = b""
        self._is_advancing = False
        self._is_busy = False
        self._is_closing = False
        self._is_reading_paused = False
        self._unsent = 0
        self._unsent_since = 0.0
        self.deadline = _NEVER
        self._exchange: Exchange | None = None
        self._reset()

    def _reset(self) -> None:
        self._head = RequestHead()
        self._has_head = False
        self._is_complete = False
        self._has_surplus = False
        self._is_kept_alive = False
        self._body: list[bytes] = []
        self._body_size = 0
        self._request_id = ""
        self._refusal: PlatformError | None = None
        self._grant: KeyGrant | None = None
        self._must_close = False
        self._is_stream_begun = False
        self._has_first_byte = False

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods without the base class.
        plain = self._transport = cast(asyncio.Transport, transport)
        plain.set_write_buffer_limits(high=_HIGH_WATER)
        plug = transport.get_extra_info("socket")
        if plug is not None and plug.family != socket.AF_UNIX:
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections = self._parts.connections
        connections.add(self)
        self.deadline = self._loop.time() + self._settings.idle_seconds
        if len(connections) > self._settings.max_connections:
            self._refuse_connection(errors.TooManyConnections())
        elif self._parts.is_stopping:
            self._refuse_connection(errors.Stopping())

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._parser = None  # it refers back here
        self._is_closing = True
        self._parts.connections.discard(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_gone()

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        self._buffer = self._buffer + data if self._buffer else data
        if not self._is_busy:
            self._advance()
        if self._is_busy and len(self._buffer) > _READ_AHEAD and self._transport is not None:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.client_stalled()

    def resume_writing(self) -> None:
        if self._exchange is not None:
            self._exchange.client_resumed()

    def tick(self, now: float) -> None:
        """Enforce the time limits of head, body and idleness; ``now`` is the loop's time."""
        if now < self.deadline or self._is_taking(now):
            return
        self.deadline = _NEVER
        if self._is_closing or not self._has_first_byte:
            self.abort()
        else:
            self._refuse_at_once(TooSlow())

    def _is_taking(self, now: float) -> bool:
        """Whether a past answer is still going out: its client has the stall limit, from each byte it takes."""
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if unsent and (unsent != self._unsent or now - self._unsent_since < self._settings.stall_seconds):
            if unsent != self._unsent:
                self._unsent, self._unsent_since = unsent, now
            return True
        return False

    def stop(self) -> None:
        """The gateway stops: close now if idle, else after the answer."""
        self._must_close = True
        if not self._is_busy and not self._has_first_byte:
            self._close()

    # -- reading

    def _advance(self) -> None:
        """Consume the buffer until a request is in flight. Not re-entered when an answer is ready at once."""
        if self._is_advancing:
            return
        self._is_advancing = True
        while self._buffer and not self._is_busy and not self._is_closing:
            if not (self._read_body() if self._has_head else self._read_head()):
                break
        self._is_advancing = False

    def _read_head(self) -> bool:
        """Returns whether there may be more to do."""
        buffer = self._buffer
        if not self._has_first_byte:
            self._has_first_byte = True
            self._request_id = ids.new("req")
            self.deadline = self._loop.time() + self._settings.head_seconds
        end = buffer.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        if end < len(_END_OF_HEAD):
            if len(buffer) > self._settings.max_head_bytes:
                self._refuse_at_once(HeadTooLarge())
            elif buffer.count(b"\n") != buffer.count(b"\r\n"):
                self._refuse_at_once(BadRequest("Header lines must end with CR LF."))
            return False
        if end > self._settings.max_head_bytes:
            self._refuse_at_once(HeadTooLarge())
            return False
        self._buffer = buffer[end:]
        if not self._feed(buffer[:end]):
            return False
        if not self._has_head:
            self._refuse_at_once(BadRequest("The request line is missing."))
            return False
        return self._head_complete()

    def _head_complete(self) -> bool:
        head = self._head
        try:
            head.check_framing()
        except PlatformError as refusal:
            self._refuse_at_once(refusal)
            return False
        self._must_close = self._must_close or not self._is_kept_alive or head.version == "1.0"
        try:
            head.check_target()
            if head.path not in OPERATIONS:
                self._grant = self._parts.keys.authenticate(head.headers.get(b"authorization", b""), time.time())
            head.check_body(self._settings)
        except PlatformError as refusal:
            length = head.content_length or 0
            if head.is_chunked or length > _SWALLOW or b"expect" in head.headers:
                self._refuse_at_once(refusal)
                return False
            self._refusal = refusal
        if head.has_body:
            self.deadline = self._loop.time() + self._settings.body_seconds
            if b"expect" in head.headers and not self._buffer and self._transport is not None:
                self._transport.write(responses.CONTINUE)
        if self._is_complete:
            self._request_complete()
        return True

    def _read_body(self) -> bool:
        length = self._head.content_length
        if length is None:
            data, self._buffer = self._buffer, b""
        else:
            left = length - self._body_size
            data, self._buffer = self._buffer[:left], self._buffer[left:]
        if not self._feed(data):
            return False
        if self._body_size > self._settings.max_body_bytes:
            self._refuse_at_once(
                BodyTooLarge(f"The request body may have at most {self._settings.max_body_bytes} bytes.")
            )
            return False
        if self._is_complete:
            # What follows a chunked body in the same read was seen by the parser and cannot be taken back.
            self._must_close = self._must_close or self._has_surplus
            self._request_complete()
        return True

    def _feed(self, data: bytes) -> bool:
        """Give bytes to the parser. Returns False after refusing what it refuses."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse_at_once(BadRequest("Upgrade and CONNECT are refused."))
        except httptools.HttpParserError:
            if self._has_surplus:
                return True
            self._refuse_at_once(BadRequest("The request is not well-formed HTTP/1.1."))
        return not self._is_closing

    # -- httptools

    def on_message_begin(self) -> None:
        if self._is_complete:
            self._has_surplus = True

    def on_url(self, target: bytes) -> None:
        if not self._has_surplus:
            self._head.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_surplus and not self._has_head:
            self._head.add(name, value, most=self._settings.max_headers)

    def on_headers_complete(self) -> None:
        if not self._has_surplus:
            self._has_head = True
            self._head.method = self._parser.get_method()
            self._head.version = self._parser.get_http_version()
            # Asked later, the parser would speak of the next message.
            self._is_kept_alive = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if not self._has_surplus:
            self._body_size += len(data)
            if self._refusal is None and self._body_size <= self._settings.max_body_bytes:
                self._body.append(data)

    def on_message_complete(self) -> None:
        self._is_complete = True

    # -- what is asked

    def _request_complete(self) -> None:
        self.deadline = _NEVER
        self._is_busy = True
        try:
            if self._refusal is not None:
                raise self._refusal
            if self._grant is None:
                self._answer_operation(self._head.path)
            elif self._head.path == MODELS:
                self._answer_models(self._grant)
            else:
                self._start_exchange(self._grant)
        except PlatformError as refusal:
            self._log_refusal(refusal)
            self.answer_error(refusal)

    def _start_exchange(self, grant: KeyGrant) -> None:
        content = b"".join(self._body)
        self._body = []
        body = request_body.parse(self._head.path, content)
        exchange = Exchange(
            parts=self._parts,
            client=self,
            request_id=self._request_id,
            grant=grant,
            body=body,
            route=self._parts.routes.find(body.model, grant),
            wait_seconds=self._head.wait_seconds(self._settings),
        )
        self._exchange = exchange
        exchange.start()

    def _answer_models(self, grant: KeyGrant) -> None:
        if self._head.model_id:
            route = self._parts.routes.find(self._head.model_id, grant)
            self.answer(200, msgspec.json.encode(model_document(route)))
        else:
            self.answer(200, model_list(self._parts.routes.allowed(grant)))

    def _answer_operation(self, path: str) -> None:
        parts = self._parts
        if path == "/-/metrics":
            content = parts.metrics.render(
                connections=len(parts.connections),
                keys=len(parts.keys),
                is_journal_healthy=parts.journal.is_healthy,
                is_database_connected=parts.is_database_connected,
            )
            self._send_answer(200, content, METRICS_TYPE)
        elif path == "/-/healthz" or (parts.is_loaded and parts.journal.is_healthy and not parts.is_stopping):
            self._send_answer(200, b"ok\n", "text/plain")
        else:
            self._send_answer(503, b"not ready\n", "text/plain")

    # -- answering (an Exchange's Client)

    def begin_stream(self) -> None:
        self._is_stream_begun = True
        self._parts.metrics.requests[(self._head.path, 200)] += 1
        is_chunked = self._head.version != "1.0"
        self._write(responses.stream_head(self._request_id, is_chunked=is_chunked, must_close=self._must_close))

    def send_stream(self, data: bytes) -> None:
        self._write(responses.chunk(data) if self._head.version != "1.0" else data)

    def end_stream(self, data: bytes, *, must_close: bool = False) -> None:
        self._must_close = self._must_close or must_close
        self._write(responses.last_chunk(data) if self._head.version != "1.0" else data)
        self._answered()

    def answer(self, status: int, content: bytes) -> None:
        self._send_answer(status, content, "application/json")

    def answer_error(self, error: PlatformError) -> None:
        retry_after = error.retry_after if isinstance(error, errors.Unavailable) else None
        content = errors.body(error, self._request_id)
        self._send_answer(error.status_code, content, "application/json", retry_after=retry_after)

    def abort(self) -> None:
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    def _send_answer(self, status: int, content: bytes, media_type: str, *, retry_after: int | None = None) -> None:
        path = self._head.path or "other"
        self._parts.metrics.requests[(path, status)] += 1
        self._write(
            responses.whole(
                status,
                content,
                media_type=media_type,
                request_id=self._request_id,
                must_close=self._must_close,
                retry_after=retry_after,
            )
        )
        self._answered()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _answered(self) -> None:
        """The answer is out: go on with what the client has sent meanwhile, or close."""
        self._exchange = None
        if self._must_close or self._parts.is_stopping:
            self._close()
            return
        self._is_busy = False
        self._reset()
        self.deadline = self._loop.time() + self._settings.idle_seconds
        if self._is_reading_paused and self._transport is not None:
            self._is_reading_paused = False
            self._transport.resume_reading()
        if self._buffer:
            self._advance()

    def _refuse_at_once(self, error: PlatformError) -> None:
        """Answer before the request was read to its end; the connection cannot be used after that."""
        self._is_busy = True
        self._must_close = True
        self._request_id = self._request_id or ids.new("req")
        self._log_refusal(error)
        self.answer_error(error)

    def _refuse_connection(self, error: PlatformError) -> None:
        self._request_id = ids.new("req")
        self._refuse_at_once(error)

    def _log_refusal(self, error: PlatformError) -> None:
        self._parts.access_log.write(
            "request_refused",
            request=self._request_id,
            path=self._head.path or "other",
            status=error.status_code,
            code=error.code,
            key=self._grant.id if self._grant is not None else "-",
        )

    def _close(self) -> None:
        """Say that no more comes and wait a moment: closing on unread bytes would destroy the answer."""
        self._is_closing = True
        self._buffer = b""
        self.deadline = self._loop.time() + _LINGER_SECONDS
        transport = self._transport
        if transport is None:
            return
        if self._is_reading_paused:
            self._is_reading_paused = False
            transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()
