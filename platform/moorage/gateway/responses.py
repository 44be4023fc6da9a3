"""The bytes of our answers. Every head is ours: nothing an engine says reaches a header."""

import http
from typing import Final

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in http.HTTPStatus}


def whole(
    status: int, content: bytes, *, media_type: str, request_id: str, must_close: bool, retry_after: int | None = None
) -> bytes:
    """An answer in one piece."""
    retry = f"Retry-After: {retry_after}\r\n" if retry_after is not None else ""
    close = "Connection: close\r\n" if must_close else ""
    head = (
        f"{_STATUS_LINES[status]}Content-Type: {media_type}\r\nContent-Length: {len(content)}\r\n"
        f"X-Request-Id: {request_id}\r\nX-Content-Type-Options: nosniff\r\n{retry}{close}\r\n"
    )
    return head.encode("ascii") + content


def stream_head(request_id: str, *, is_chunked: bool, must_close: bool) -> bytes:
    """The head of a stream of server-sent events. Proxies on the way are asked not to collect it."""
    framing = "Transfer-Encoding: chunked\r\n" if is_chunked else ""
    close = "Connection: close\r\n" if must_close else ""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-store\r\n"
        f"X-Accel-Buffering: no\r\nX-Request-Id: {request_id}\r\n{framing}{close}\r\n"
    ).encode("ascii")


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body; never empty, which would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(data: bytes) -> bytes:
    """The last piece and the end of a chunked body, in one write."""
    return chunk(data) + b"0\r\n\r\n"
