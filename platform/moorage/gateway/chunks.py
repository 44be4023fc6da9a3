"""The chunks of one read, checked and still in their framing (RFC 9112, section 7.1): what is alike goes on as it came.

Only the plain form is known here, a length in hexadecimal digits and whole chunks. Whatever else HTTP allows is read by
the parser, which also judges what it does not allow.
"""

from typing import Final

#: So many chunks in one read are worth looking at all at once.
MANY: Final = 12
#: The value of a hexadecimal digit by its byte; of any other byte more than 15.
_DIGITS: Final = bytes(int(chr(byte), 16) if chr(byte) in "0123456789abcdefABCDEF" else 16 for byte in range(256))
#: Digits of a length that is believed: a chunk of sixteen megabytes is no plain one.
_DIGITS_MOST: Final = 6
_CR: Final = 13
_LF: Final = 10


class Chunks:
    """Whole chunks in ``data``: the first one's framing begins at ``start``, the last one's ends at ``end``."""

    __slots__ = ("count", "data", "end", "is_last", "start")

    def __init__(self, data: bytes, start: int, end: int, count: int, *, is_last: bool = False) -> None:
        self.data = data
        self.start = start
        self.end = end
        self.count = count
        #: The body ends behind them.
        self.is_last = is_last

    def pieces(self) -> list[bytes]:
        """What each holds, without the framing."""
        data, at = self.data, self.start
        taken: list[bytes] = []
        while at < self.end:
            length, begin = span_at(data, at)
            taken.append(data[begin : begin + length])
            at = begin + length + 2
        return taken

    @property
    def first_byte(self) -> int:
        """Of what the first one holds."""
        return self.data[span_at(self.data, self.start)[1]]

    def framed(self) -> memoryview:
        """All of it as it came, framing included, not copied."""
        return memoryview(self.data)[self.start : self.end]


class Passage:
    """What of a read goes on to a client, in this order."""

    __slots__ = ("alike", "before", "behind")

    def __init__(self, before: bytes, alike: Chunks | None = None, behind: bytes = b"") -> None:
        self.before = before
        #: These as they are.
        self.alike = alike
        self.behind = behind


class Found:
    """What a read holds, from where chunks were looked for: ``count`` whole ones up to ``end``, and how it goes on."""

    __slots__ = ("count", "end", "is_last", "is_plain")

    def __init__(self, count: int, end: int, *, is_plain: bool, is_last: bool) -> None:
        self.count = count
        self.end = end
        #: Nothing stands behind them, or what ends the body.
        self.is_plain = is_plain
        #: The body ends here, and so does the read.
        self.is_last = is_last


def find(data: bytes, at: int) -> Found:
    """The whole chunks in ``data``, the first of which begins at ``at``."""
    digits, size, count = _DIGITS, len(data), 0
    while at < size:
        place, length, most = at, 0, min(at + _DIGITS_MOST + 1, size)
        # A chunk of nothing has five bytes.
        while place < most and (digit := digits[data[place]]) < 16:
            length = length * 16 + digit
            place += 1
        begin = place + 2
        end = begin + length
        if not 0 < place - at <= _DIGITS_MOST or end + 2 > size:
            return Found(count, at, is_plain=False, is_last=False)
        if data[place] != _CR or data[place + 1] != _LF or data[end] != _CR or data[end + 1] != _LF:
            return Found(count, at, is_plain=False, is_last=False)
        if not length:
            is_last = end + 2 == size
            return Found(count, at, is_plain=is_last, is_last=is_last)
        count += 1
        at = end + 2
    return Found(count, at, is_plain=True, is_last=False)


def span_at(data: bytes, at: int) -> tuple[int, int]:
    """Length and beginning of the content of the chunk whose framing, which was checked, begins at ``at``."""
    digits, length = _DIGITS, 0
    while (digit := digits[data[at]]) < 16:
        length = length * 16 + digit
        at += 1
    return length, at + 2
