"""The bytes of our answers. Every head is ours: nothing an engine says reaches a header."""

import http
from typing import Final

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON: Final = "application/json"
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}
_OK_JSON: Final = b"HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\nContent-Type: application/json\r\n"


def whole(
    status: int, content: bytes, *, media_type: str, request_id: str, must_close: bool, headers: bytes = b""
) -> bytes:
    """An answer in one piece. ``headers`` are whole lines."""
    close = b"Connection: close\r\n" if must_close else b""
    if status == 200 and media_type is JSON:
        return b"%bContent-Length: %d\r\nX-Request-Id: %b\r\n%b%b\r\n%b" % (
            _OK_JSON,
            len(content),
            request_id.encode(),
            headers,
            close,
            content,
        )
    return (
        b"%bX-Content-Type-Options: nosniff\r\nContent-Type: %b\r\nContent-Length: %d\r\nX-Request-Id: %b\r\n%b%b\r\n%b"
    ) % (
        *(_STATUS_LINES[status], media_type.encode("ascii"), len(content), request_id.encode()),
        *(headers, close, content),
    )


def stream_head(request_id: str, *, is_chunked: bool, must_close: bool, headers: bytes = b"") -> bytes:
    """The head of a stream of server-sent events. Proxies on the way are asked not to collect it."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-store\r\n"
        b"X-Accel-Buffering: no\r\nX-Request-Id: %b\r\n%b%b%b\r\n"
    ) % (
        request_id.encode(),
        b"Transfer-Encoding: chunked\r\n" if is_chunked else b"",
        headers,
        b"Connection: close\r\n" if must_close else b"",
    )


def vendors_id(request_id: str) -> bytes:
    """The header line in which Anthropic's clients look for a request's id."""
    return b"Request-Id: %b\r\n" % request_id.encode()


def chunk(data: bytes) -> bytes:
    """A piece of a chunked body; never empty, which would end it."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(data: bytes) -> bytes:
    """The last piece and the end of a chunked body, in one write."""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
