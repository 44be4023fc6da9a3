"""One client connection: reads strictly, one request at a time, answers in the shape of the API that was called.

The head is cut off at its blank line before the parser sees it, and a body of known length never passes the parser, so
bytes of a next request are not read while one is in flight: they wait in a small buffer, and reading stops when that
is full.
"""

import asyncio
import socket
import time
from typing import Final, cast

from moorage.gateway import errors, model_documents, once, probes, responses
from moorage.gateway.answering import Answering
from moorage.gateway.errors import BadRequest, BodyTooLarge, HeadTooLarge, TooSlow
from moorage.gateway.exchange import Exchange
from moorage.gateway.keys import digest_of
from moorage.gateway.large_bodies import LARGE
from moorage.gateway.once import OnceCall
from moorage.gateway.operations import OPERATIONS
from moorage.gateway.parts import Parts
from moorage.gateway.request_head import MODELS, PROBES, KnownHead, RequestHead
from moorage.kernel import ids
from moorage.kernel.errors import PlatformError
from moorage.wire.records import KeyGrant

_time: Final = time.time
_END_OF_HEAD: Final = b"\r\n\r\n"
_READ_AHEAD: Final = 64 * 1024
_HIGH_WATER: Final = 64 * 1024
#: A refused body up to this size is swallowed, so that the connection can go on.
_SWALLOW: Final = 64 * 1024
#: How many requests of one connection are answered at once before others have their turn.
_TURNS: Final = 16
#: How long a connection that is being closed may still take its last answer.
_LINGER_SECONDS: Final = 2.0
_NEVER: Final = float("inf")

_request_ids: Final = ids.Series("req")


class ClientProtocol(Answering):
    """States: reading a head, reading a body, busy with an answer, closing."""

    __slots__ = (
        *("_body", "_buffer", "_exchange", "_grant", "_has_first_byte", "_is_advancing", "_is_busy", "_is_full"),
        *(
            "_is_reading_paused",
            "_kept",
            "_known",
            "_loop",
            "_missing",
            "_refusal",
            "_settings",
            "_unsent",
            "_unsent_since",
        ),
        *("deadline", "peer"),
    )

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._settings = parts.settings
        self._loop = asyncio.get_running_loop()
        self.peer = ""  # the client's address, empty where there is none
        self._buffer = b""
        self._known: KnownHead | None = None
        self._body: list[bytes] = []
        self._kept = 0  # bytes that large_bodies knows of
        self._missing = 0  # bytes of the body that have not come
        self._is_advancing = False
        self._is_busy = False
        self._is_full = False  # the client does not take what was answered: nothing more is done for it until it does
        self._is_reading_paused = False
        self._has_first_byte = False
        self._unsent = 0
        self._unsent_since = 0.0
        self.deadline = _NEVER
        self._grant: KeyGrant | None = None
        self._refusal: PlatformError | None = None
        self._exchange: Exchange | OnceCall | None = None

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods without the base class.
        plain = self._transport = cast(asyncio.Transport, transport)
        plain.set_write_buffer_limits(high=_HIGH_WATER)
        plug = transport.get_extra_info("socket")
        if plug is not None and plug.family != socket.AF_UNIX:
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peer = str(transport.get_extra_info("peername", ("",))[0])
        connections = self._parts.connections
        connections.add(self)
        self.deadline = self._loop.time() + self._settings.idle_seconds
        if len(connections) > self._settings.max_connections:
            self._refuse_connection(errors.TooManyConnections())
        elif self._parts.is_stopping:
            self._refuse_connection(errors.Stopping())

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._known = self._head = None
        self._is_closing = True
        self._parts.connections.discard(self)
        self.let_go_of_body()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_gone()

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        known = self._known
        if known is not None and not self._has_first_byte and not self._is_full and self._is_again(known, data):
            return
        if self._missing and not self._is_busy:
            self._take_body(data)
            return
        self._buffer = self._buffer + data if self._buffer else data
        if not self._is_busy:
            self._advance()
        if len(self._buffer) > _READ_AHEAD and self._transport is not None:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._is_full = True
        if self._exchange is not None:
            self._exchange.client_stalled()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._exchange is not None:
            self._exchange.client_resumed()
        elif self._buffer:
            self._advance()

    def let_go_of_body(self) -> None:
        """As Client has it."""
        if self._kept and self._grant is not None:
            self._parts.large_bodies.give_back(self._grant.organization_id, self._kept)
            self._kept = 0

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

    def _is_again(self, known: KnownHead, data: bytes) -> bool:
        """Whether ``data`` is the whole of one request under the head of the one before; it is then on its way."""
        end = known.find(data)
        head = known.head
        if not end or len(data) - end != head.content_length or self._buffer:
            return False
        self._has_first_byte = self._is_busy = True
        self._request_id = _request_ids.new()
        self._head = head
        self.deadline = _NEVER
        try:
            grant = self._grant = self._parts.keys.admit(known.digest, _time(), self.peer)
            if self._settings.domain:
                self._check_host(head, grant)
            self._start_exchange(grant, head, data[end:])
        except PlatformError as refusal:
            self._refuse(refusal)
        return True

    def _advance(self, is_next_turn: bool = False) -> None:
        """Consume the buffer until a request is in flight. Not re-entered when an answer is ready at once."""
        if self._is_advancing and not is_next_turn:
            return
        self._is_advancing = True
        turns = _TURNS
        while self._buffer and not self._is_busy and not self._is_closing and not self._is_full:
            if not turns:
                # A pipeline of what is answered at once is no reason for others to wait.
                self._loop.call_soon(self._advance, True)
                return
            turns -= 1
            if not (self._read_head() if self._head is None else self._read_body()):
                break
        self._is_advancing = False
        if self._is_reading_paused and not self._is_busy and not self._is_full and self._transport is not None:
            self._is_reading_paused = False
            self._transport.resume_reading()

    def _read_head(self) -> bool:
        """Returns whether there may be more to do."""
        buffer = self._buffer
        if not self._has_first_byte:
            self._has_first_byte = True
            self._request_id = _request_ids.new()
            known = self._known
            if known is not None and (end := known.find(buffer)):
                self._buffer = buffer[end:]
                return self._judge(known.head, known.digest) and self._head_came(known.head)
            self.deadline = self._loop.time() + self._settings.head_seconds
        end = buffer.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        longest = self._settings.max_head_bytes
        if end < len(_END_OF_HEAD):
            if len(buffer) > longest:
                self._refuse_at_once(HeadTooLarge())
            elif buffer.count(b"\n") != buffer.count(b"\r\n"):
                self._refuse_at_once(BadRequest("Header lines must end with CR LF."))
            return False
        if end > longest:
            self._refuse_at_once(HeadTooLarge())
            return False
        content, self._buffer = buffer[:end], buffer[end:]
        head = RequestHead(most_headers=self._settings.max_headers)
        try:
            head.feed(content)
            if not head.is_read:
                raise BadRequest("The request line is missing.")
            head.check_request_line(content)
            head.check_framing()
        except PlatformError as refusal:
            head.let_go()
            self._refuse_at_once(refusal)
            return False
        if not head.is_chunked:
            head.let_go()
        if not self._judge(head):
            return False
        if self._refusal is None:
            self._known = KnownHead.of(head, content, longest_body=min(LARGE, self._settings.max_body_bytes))
            if self._known is not None:
                self._known.digest = digest_of(head.authorization)
        return self._head_came(head)

    def _judge(self, head: RequestHead, known_digest: bytes = b"") -> bool:
        """Find out who wants what, and refuse what will not be served; False when that had to be at once."""
        keys, now = self._parts.keys, _time()
        try:
            if known_digest:
                self._grant = keys.admit(known_digest, now, self.peer)
                if self._settings.domain:
                    self._check_host(head, self._grant)
                return True
            head.check_target()
            if head.path not in PROBES:
                self._grant = keys.authenticate(head.authorization, now, self.peer)
                if self._settings.domain:
                    self._check_host(head, self._grant)
            head.check_body(self._settings)
            if head.content_length > LARGE:
                self._keep(head.content_length)
        except PlatformError as refusal:
            return self._postpone(head, refusal)
        return True

    def _keep(self, size: int) -> None:
        """Keep a large body of so many bytes, or as far as it has come. Raises TooManyLargeRequests."""
        if self._grant is not None and size > self._kept:
            self._parts.large_bodies.take(self._grant.organization_id, size - self._kept)
            self._kept = size

    def _check_host(self, head: RequestHead, grant: KeyGrant) -> None:
        organization = self._parts.admission.organizations.get(grant.organization_id)
        self._parts.hosts.check(head.headers.get(b"host", b""), organization.slug if organization is not None else "")

    def _postpone(self, head: RequestHead, refusal: PlatformError) -> bool:
        """Refuse when the body is read, so that the connection can go on; at once where it is not worth that."""
        self._head = head
        if head.is_chunked or head.content_length > _SWALLOW or b"expect" in head.headers:
            self._refuse_at_once(refusal)
            return False
        self._refusal = refusal
        return True

    def _head_came(self, head: RequestHead) -> bool:
        """The head is read and judged: is the body there?"""
        self._head = head
        self._must_close = self._must_close or not head.is_kept_alive or head.version == "1.0"
        self._is_chunked = head.version != "1.0"
        if head.is_chunked:
            self._missing = 0
        elif len(self._buffer) >= head.content_length:
            body, self._buffer = self._buffer[: head.content_length], self._buffer[head.content_length :]
            self._request_complete(body)
            return True
        else:
            self._missing = head.content_length
        self.deadline = self._loop.time() + self._settings.body_seconds
        if b"expect" in head.headers and not self._buffer:
            self._write(responses.CONTINUE)
        if self._missing:
            first, self._buffer = self._buffer, b""
            self._take_body(first)
        return True

    def _take_body(self, data: bytes) -> None:
        """Bytes of a body of known length."""
        missing = self._missing
        if len(data) < missing:
            self._missing = missing - len(data)
            self._body.append(data)
            return
        self._missing = 0
        self._body.append(data[:missing])
        body = b"".join(self._body)
        self._body.clear()
        self._buffer = data[missing:]
        self._request_complete(body)
        if self._buffer and not self._is_busy:
            self._advance()

    def _read_body(self) -> bool:
        """Bytes of a chunked body."""
        head = self._head
        assert head is not None
        data, self._buffer = self._buffer, b""
        try:
            head.feed(data)
            if head.body_size > self._settings.max_body_bytes:
                raise BodyTooLarge(f"The request body may have at most {self._settings.max_body_bytes} bytes.")
            if head.body_size > LARGE:
                self._keep(head.body_size)
        except PlatformError as refusal:
            self._refuse_at_once(refusal)
            return False
        if head.is_complete:
            self._must_close = self._must_close or head.has_surplus
            head.let_go()
            self._request_complete(b"".join(head.body))
        return True

    # -- what is asked

    def _request_complete(self, body: bytes) -> None:
        head = self._head
        assert head is not None
        self.deadline = _NEVER
        self._is_busy = True
        try:
            if self._refusal is not None:
                raise self._refusal
            if self._grant is None:
                probes.answer(self._parts, head.path, self.peer, self._send_probe)
            elif head.path == MODELS:
                self._answer_models(self._grant, head.model_id)
            else:
                self._start_exchange(self._grant, head, body)
        except PlatformError as refusal:
            self._refuse(refusal)

    def _start_exchange(self, grant: KeyGrant, head: RequestHead, content: bytes) -> None:
        operation = OPERATIONS[head.path]
        call: OnceCall | None = None
        value = head.headers.get(b"idempotency-key")
        if value is not None:
            claim = once.find(self._parts, self, operation, value, key_id=grant.id, content=content)
            if claim is None:
                return
            call = OnceCall(self._parts, self, claim)
        body = operation.parse(content)
        exchange = Exchange(
            self._parts,
            self if call is None else call,
            self._request_id,
            grant,
            operation,
            body,
            self._parts.routes.find(body.model, grant),
            head.wait_seconds(self._settings),
            len(content),
        )
        if self._parts.traces is not None:
            exchange.traceparent = head.headers.get(b"traceparent", b"")
        if call is None:
            self._exchange = exchange
            exchange.start()
        else:
            self._exchange = call
            call.start(exchange, request_id=self._request_id, refuse=self._refuse)

    def _refuse(self, refusal: PlatformError) -> None:
        self._log_refusal(refusal)
        self.answer_error(refusal)

    def _answer_models(self, grant: KeyGrant, model_id: str) -> None:
        if model_id:
            route = self._parts.routes.find(model_id, grant)
            self.answer(200, model_documents.one(route))
        else:
            self.answer(200, model_documents.listed(self._parts.routes.allowed(grant)))

    def _send_probe(self, status: int, content: bytes, media_type: str) -> None:
        if self._transport is not None:
            self._send_answer(status, content, media_type)

    # -- after an answer

    def _answered(self) -> None:
        """The answer is out: go on with what the client has sent meanwhile, or close."""
        self._exchange = None
        self.let_go_of_body()
        if self._must_close or self._parts.is_stopping:
            self._close()
            return
        self._is_busy = False
        self._head = self._grant = self._refusal = None
        self._has_first_byte = False
        self.deadline = self._loop.time() + self._settings.idle_seconds
        if self._buffer:
            self._advance()

    def _refuse_at_once(self, error: PlatformError) -> None:
        """Answer before the request was read to its end; the connection cannot be used after that."""
        self._is_busy = True
        self._must_close = True
        self._request_id = self._request_id or _request_ids.new()
        self._log_refusal(error)
        self.answer_error(error)

    def _refuse_connection(self, error: PlatformError) -> None:
        self._request_id = _request_ids.new()
        self._refuse_at_once(error)

    def _log_refusal(self, error: PlatformError) -> None:
        self._parts.access_log.write(
            "request_refused",
            request=self._request_id,
            path=self._path,
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
