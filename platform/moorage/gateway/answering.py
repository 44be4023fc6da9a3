"""Writing answers to a client: in one piece or as a stream, in the shape of the API that was called."""

import asyncio
from typing import Final

from moorage.gateway import errors, responses
from moorage.gateway.chunks import Chunks
from moorage.gateway.client import Client
from moorage.gateway.operations import OPERATIONS
from moorage.gateway.parts import Parts
from moorage.gateway.request_head import RequestHead
from moorage.kernel.errors import PlatformError

#: Paths whose official client looks for the request's id under another name.
_ANTHROPIC: Final = "/v1/messages"


class Answering(Client):
    """The half of a connection that speaks: an exchange's Client. The other half reads."""

    __slots__ = (
        "_head",
        "_held",
        "_is_chunked",
        "_is_closing",
        "_is_ending",
        "_must_close",
        "_parts",
        "_request_id",
        "_transport",
    )

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._transport: asyncio.Transport | None = None
        self._head: RequestHead | None = None
        self._request_id = ""
        self._must_close = False
        self._is_closing = False
        self._is_chunked = True  # the answer's framing, where its length is not known
        #: Pieces of a stream that go out with the next one: its head, or all that came with its end.
        self._held: list[bytes | memoryview] = []
        self._is_ending = False

    def _answered(self) -> None:
        """The answer is out."""
        raise NotImplementedError

    def begin_stream(self, headers: bytes = b"") -> None:
        path = self._path
        self._parts.metrics.answers(path, 200)
        if path.startswith(_ANTHROPIC):
            headers += responses.vendors_id(self._request_id)
        self._held = [
            responses.stream_head(
                self._request_id, is_chunked=self._is_chunked, must_close=self._must_close, headers=headers
            )
        ]

    def send_stream(self, data: bytes) -> None:
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._is_ending or self._held:
            self._send_after_held(data)
        elif self._transport is not None:
            self._transport.write(data)

    def send_chunks(self, chunks: Chunks) -> None:
        if not self._is_chunked:
            self.send_stream(b"".join(chunks.pieces()))
        elif self._is_ending or self._held:
            self._send_after_held(chunks.framed())
        elif self._transport is not None:
            self._transport.write(chunks.framed())

    def _send_after_held(self, data: bytes | memoryview) -> None:
        self._held.append(data)
        if not self._is_ending:
            held, self._held = self._held, []
            if self._transport is not None:
                self._transport.writelines(held)

    def ends_soon(self) -> None:
        self._is_ending = True

    def end_stream(self, data: bytes, *, must_close: bool = False) -> None:
        self._must_close = self._must_close or must_close
        self._is_ending = False
        last = responses.last_chunk(data) if self._is_chunked else data
        if self._held:
            self._send_after_held(last)
        else:
            self._write(last)
        self._answered()

    def answer(self, status: int, content: bytes, headers: bytes = b"") -> None:
        self._send_answer(status, content, responses.JSON, headers)

    def take_request_id(self, request_id: str) -> None:
        self._request_id = request_id

    def answer_error(self, error: PlatformError) -> None:
        if isinstance(error, errors.AnsweredBefore | errors.StillRunning):
            self._request_id = error.request_id
        operation = OPERATIONS.get(self._path)
        content = (operation.error if operation is not None else errors.body)(error, self._request_id)
        self._send_answer(error.status_code, content, responses.JSON, errors.headers(error))

    def abort(self) -> None:
        self._is_closing = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def _path(self) -> str:
        return (self._head.path if self._head is not None else "") or "other"

    def _send_answer(self, status: int, content: bytes, media_type: str, headers: bytes = b"") -> None:
        path = self._path
        self._is_ending = False
        self._parts.metrics.answers(path, status)
        if path.startswith(_ANTHROPIC):
            headers += responses.vendors_id(self._request_id)
        self._write(
            responses.whole(
                status,
                content,
                media_type=media_type,
                request_id=self._request_id,
                must_close=self._must_close,
                headers=headers,
            )
        )
        self._answered()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
