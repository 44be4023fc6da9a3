"""Frames that are the same bytes but for one text each: counted and passed on without being decoded. Pure.

An unescaped quotation mark stands in no JSON string, so nothing that a model wrote can look like a frame.
"""

import re
from typing import Final

from moorage.gateway.chunks import Chunks, span_at

#: A chunk with one text, in three groups: what is before it, the text, what is behind it.
_ONE_TEXT: Final = re.compile(rb'(data: \{[^\n]*?"delta":\{"content":")((?:[^"\\\n]|\\.)+)("[^\n]*\n\n)')
_DELTA: Final = b'"delta":{"content":"'
_BACKSLASH: Final = ord("\\")
#: Texts, a line each, that are the insides of JSON strings in ASCII.
_TEXTS: Final = re.compile(rb'(?:[^"\\\n]|\\[^u\n])+(?:\n(?:[^"\\\n]|\\[^u\n])+)*')
#: Members that are not relayed undecoded.
_NEVER_UNREAD: Final = (b'"usage":{', b'"error"', b'"timings"', b'"prompt_progress"', b'"tool_calls"')
#: A text of so many bytes is no token or few.
_LONGEST_TEXT: Final = 128
# Asked for a byte by its number, bytes answer at once; asked for bytes, they first try them as a number.
_NEW_LINE: Final = ord("\n")
_RETURN: Final = ord("\r")
_QUOTE: Final = ord('"')


def all_alike(frames: list[bytes]) -> bytes:
    """The frames as one piece, if all have one text of one or few tokens and are otherwise the same bytes; else none.

    Nothing is searched: where the text of the first one stands, that of each other must, and put together again they
    must be what came.
    """
    if not frames:
        return b""
    before, behind = around_text(frames[0])
    if not before or any(name in frames[0] for name in _NEVER_UNREAD):
        return b""
    start, end = len(before), -len(behind)
    texts = [frame[start:end] for frame in frames]
    whole = b"".join(frames)
    if (behind + before).join(texts) != whole[start:end] or not whole.isascii():
        return b""
    if not all(texts):
        return b""
    return whole if _are_texts(texts) else b""


def around_text(frame: bytes) -> tuple[bytes, bytes]:
    """What stands before and behind the one text of a frame; nothing if it has none, or is no frame."""
    start = frame.find(_DELTA) + len(_DELTA)
    # A carriage return ends a line of an event stream, wherever JSON lets one stand.
    if start < len(_DELTA) or _RETURN in frame:
        return b"", b""
    end = frame.find(_QUOTE, start)
    if end <= start or frame[end - 1] == _BACKSLASH:
        found = _ONE_TEXT.fullmatch(frame)
        return (found[1], found[3]) if found is not None else (b"", b"")
    if not (frame.startswith(b"data: {") and frame.endswith(b"\n\n") and frame.find(_NEW_LINE) == len(frame) - 2):
        return b"", b""
    return frame[:start], frame[end:]


def count_alike(buffer: bytes, start: int, end: int) -> int:
    """How many frames there are, if all have one text of one or few tokens and are otherwise the same bytes; else 0."""
    first = _ONE_TEXT.match(buffer, start, end)
    if first is None or not buffer.isascii() or (buffer.find(b"\\") >= 0 and b"\\u" in buffer):
        return 0
    before, behind = first[1], first[3]
    count = buffer.count(behind + before, start, end) + 1
    is_all = buffer.endswith(behind, start, end) and buffer.count(b"\n", start, end) == 2 * count
    if not is_all or buffer.find(b'"content":""', start, end) >= 0:
        return 0
    return 0 if any(name in before or name in behind for name in _NEVER_UNREAD) else count


def alike(data: bytes, at: int, end: int, before: bytes, behind: bytes) -> Chunks | None:
    """The chunks from ``at`` on that hold ``before``, a text of one token or few, and ``behind``; None where there are
    none, or one that is as long as such a one and is none. The chunk that ends at ``at`` has ``behind`` at its end.

    Nothing is searched: the texts are cut out where they must stand, and put together again with all that stands
    between them, framing included, they must be what came.
    """
    lead, bare = len(before), len(before) + len(behind)
    gap = behind + b"\r\n"
    end_length = len(gap)
    start = at
    gaps = [b""] * _LONGEST_TEXT  # what stands between two texts, by the length of the second one
    parts: list[bytes] = []
    while at < end:
        length, begin = span_at(data, at)
        size = length - bare
        if not 0 < size < _LONGEST_TEXT:
            break
        between = gaps[size]
        if not between:
            between = gaps[size] = b"%b%x\r\n%b" % (gap, length, before)
        begin += lead
        parts.append(between)
        parts.append(data[begin : begin + size])
        at = begin + size + end_length
    texts = parts[1::2]
    parts.append(gap)
    is_alike = texts and data.startswith(b"".join(parts), start - end_length) and _are_texts(texts)
    return Chunks(data, start, at, len(texts)) if is_alike else None


def _are_texts(texts: list[bytes]) -> bool:
    """Whether each is the inside of a JSON string in ASCII, without a character that stands for others."""
    said = b"".join(texts)
    if not said.isascii():
        return False
    # A few hundred bytes: three searches for one byte each cost less than one pattern.
    if _RETURN in said:
        return False
    is_plain = not (_BACKSLASH in said or _QUOTE in said or _NEW_LINE in said)
    return is_plain or _TEXTS.fullmatch(b"\n".join(texts)) is not None
