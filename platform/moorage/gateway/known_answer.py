"""The heads that an engine sends again and again, known by their bytes: an answer in one piece, and a stream."""

import re
from typing import Final

#: Digits of a length.
_DIGITS_MOST: Final = 15
_ZERO: Final = ord("0")
_END_OF_HEAD: Final = b"\r\n\r\n"
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n", re.IGNORECASE)


class KnownAnswer:
    """The head of a whole answer, known again but for its length."""

    __slots__ = ("_after", "_before", "status")

    def __init__(self, before: bytes, after: bytes, status: int) -> None:
        self._before = before
        self._after = after
        self.status = status

    @classmethod
    def of(cls, data: bytes, status: int) -> "KnownAnswer | None":
        """Remember the head of an answer that came in one read; None where its length is not in its head."""
        place = _LENGTH.search(data)
        end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        if place is None or place.end() > end:
            return None
        return cls(data[: place.start(1)], data[place.end(1) : end], status)

    def body_at(self, data: bytes) -> int:
        """Where the body begins, if ``data`` is this head and a whole body; else 0."""
        if not data.startswith(self._before):
            return 0
        start = at = len(self._before)
        most, length = min(at + _DIGITS_MOST, len(data)), 0
        while at < most and 0 <= (digit := data[at] - _ZERO) <= 9:
            length = length * 10 + digit
            at += 1
        begin = at + len(self._after)
        is_whole = at > start and len(data) - begin == length and data[at:begin] == self._after
        return begin if is_whole else 0


class KnownStream:
    """The head of a stream of server-sent events in chunks, with status 200."""

    __slots__ = ("head",)

    def __init__(self, head: bytes) -> None:
        self.head = head

    @classmethod
    def of(cls, data: bytes) -> "KnownStream | None":
        """Remember the head with which ``data`` begins; None where it is no such one."""
        head = data[: data.find(_END_OF_HEAD) + len(_END_OF_HEAD)]
        is_usual = head.startswith(b"HTTP/1.1 200") and _CHUNKED.search(head) is not None
        return cls(head) if is_usual and _LENGTH.search(head) is None else None
