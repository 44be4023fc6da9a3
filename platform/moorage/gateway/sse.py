"""A stream of server-sent events on its way from engine to client: counted, and rid of what nobody asked for.

Frames pass as the bytes they came as. Changed are only: the usage chunk and members that we forced on the engine
(removed when the client did not ask), llama-server's ``timings`` and ``prompt_progress`` (not part of OpenAI's format),
and frames that are no JSON (dropped and counted). ``[DONE]`` is held back until usage is on disk.

Engines differ: usage in a last chunk with empty ``choices`` (both), in the chunk with the finish reason (older
llama-server), or in every chunk (vLLM's ``continuous_usage_stats``).
"""

import re
from typing import Final

import msgspec

from moorage.gateway.chunk import Choice, Chunk
from moorage.gateway.counts import EngineUsage
from moorage.gateway.usage import TOOL_HEAD_TOKENS, Meter

#: A frame larger than this is no token but a broken engine.
MAX_FRAME_BYTES: Final = 1024 * 1024
DONE: Final = b"data: [DONE]\n\n"
_BOUNDARY: Final = re.compile(rb"\r?\n\r?\n")
#: From this size on a read is looked at for frames that need no decoding.
_BURST_BYTES: Final = 2048
_TAIL_FRAMES: Final = 3
#: From so many pieces on, those in the middle of a read are looked at all at once.
_BURST_PIECES: Final = 12
#: A chunk with one text, in three groups: what is before it, the text, what is behind it.
_ONE_TEXT: Final = re.compile(rb'(data: \{[^\n]*?"delta":\{"content":")((?:[^"\\\n]|\\.)+)("[^\n]*\n\n)')
_DELTA: Final = b'"delta":{"content":"'
_BACKSLASH: Final = ord("\\")
#: Texts, a line each, that are the insides of JSON strings in ASCII.
_TEXTS: Final = re.compile(rb'(?:[^"\\\n]|\\[^u\n])+(?:\n(?:[^"\\\n]|\\[^u\n])+)*')
#: Members that are not relayed undecoded.
_NEVER_UNREAD: Final = (b'"usage":{', b'"error"', b'"timings"', b'"prompt_progress"', b'"tool_calls"')
_OURS: Final = ("timings", "prompt_progress")


class FrameTooLarge(Exception):
    """The engine sent a megabyte without an end of frame."""


_chunks: Final = msgspec.json.Decoder(Chunk)
_usages: Final = msgspec.json.Decoder(EngineUsage)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.Encoder().encode


class EventFilter:
    """One stream. Feed it body bytes, send what it returns."""

    __slots__ = ("_keep_usage", "_rest", "_searched", "has_error", "is_done", "malformed", "meter")

    def __init__(self, meter: Meter, *, keep_usage: bool) -> None:
        self.meter = meter
        self._keep_usage = keep_usage
        self._rest = b""
        self._searched = 0
        self.is_done = False  # [DONE] was seen
        self.has_error = False  # the engine reported an error in the stream
        self.malformed = 0

    @property
    def last(self) -> bytes:
        """``[DONE]``."""
        return DONE

    def feed(self, data: bytes) -> bytes:
        """What may go to the client now, whole frames only. Raises FrameTooLarge."""
        buffer = self._rest + data if self._rest else data
        if self.is_done or self.has_error:
            return b""
        if buffer.endswith(b"\n\n"):
            end = buffer.find(b"\n\n") + 2
            if end == len(buffer) and buffer.startswith(b"data: {") and b"\r" not in buffer:
                # The usual case at the usual pace: one frame in one read.
                self._rest, self._searched = b"", 0
                return self._chunk(buffer, buffer[6:-2])
        kept: list[bytes] = []
        position, same_from, search = 0, 0, self._searched
        has_returns = b"\r" in buffer
        is_burst = len(buffer) > _BURST_BYTES and not has_returns
        while (end := _end_of_frame(buffer, search, has_returns=has_returns)) > 0:
            search = end
            frame = buffer[position:end]
            passed = self._frame(frame)
            if passed is not frame:
                # What passes unchanged is copied in one piece.
                kept.append(buffer[same_from:position])
                kept.append(passed)
                same_from = end
            position = end
            if self.is_done or self.has_error:
                break
            if is_burst and self.meter.frames:
                # Once a read: where they are not alike, each is looked at.
                is_burst = False
                position = search = self._relayed_to(buffer, position)
        kept.append(buffer[same_from:position])
        self._rest = b"" if position == len(buffer) else buffer[position:]
        # A boundary may straddle two reads: look again at its last three bytes only.
        self._searched = max(0, len(self._rest) - 3)
        if len(self._rest) > MAX_FRAME_BYTES:
            raise FrameTooLarge
        return b"".join(kept)

    def feed_pieces(self, pieces: list[bytes]) -> bytes:
        """The same of one read whose chunks have been taken apart: engines make a chunk of every frame."""
        if len(pieces) < _BURST_PIECES:
            return self.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        told: list[bytes] = []
        position, last = 0, len(pieces) - _TAIL_FRAMES - 1
        while position < last and (self._rest or not self.meter.frames):
            told.append(self.feed(pieces[position]))
            position += 1
        alike = pieces[position:last]
        if not (self._rest or self.is_done or self.has_error) and (passed := all_alike(alike)):
            self.meter.relayed(len(alike))
            told.append(passed)
            position = last
        told.append(self.feed(b"".join(pieces[position:])))
        return b"".join(told)

    def _relayed_to(self, buffer: bytes, position: int) -> int:
        """Many whole frames behind the first text: the end of those that are relayed undecoded, being alike.

        Alike is: the same bytes but for one text. What ends a stream (finish, usage, [DONE], an error) is not, and
        stands in the last few frames.
        """
        end = len(buffer)
        for _ in range(_TAIL_FRAMES + 1):
            end = buffer.rfind(b"\n\n", position, end)
            if end < 0:
                return position
        frames = _alike(buffer, position, end + 2)
        self.meter.relayed(frames)
        return end + 2 if frames else position

    def _frame(self, frame: bytes) -> bytes:
        """The frame as it goes out; empty when it does not."""
        if frame.startswith(b"data: {"):
            return self._chunk(frame, frame[6:].rstrip())
        payload = b"\n".join(
            [line[5:].lstrip(b" ") for line in frame.replace(b"\r", b"").split(b"\n") if line.startswith(b"data:")]
        ).strip()
        if not payload:
            return frame  # a comment, kept because it keeps connections alive
        if payload == b"[DONE]":
            self.is_done = True
            return b""
        return self._chunk(frame, payload)

    def _chunk(self, frame: bytes, payload: bytes) -> bytes:
        try:
            chunk = _chunks.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.malformed += 1
            return b""
        choices = chunk.choices or ()
        if len(choices) == 1 and not (chunk.usage or chunk.timings or chunk.error or chunk.prompt_progress):
            # The usual frame: one choice, one text in ASCII, nothing else that counts.
            choice = choices[0]
            delta = choice.delta
            if delta is not None and choice.text is None and delta.tool_calls is None:
                text = delta.content
                if text and text.isascii() and delta.reasoning_content is None and delta.reasoning is None:
                    self.meter.relayed(1)
                    return frame
        if chunk.error and bytes(chunk.error) != b"null":
            self.has_error = True
            return b""
        if chunk.prompt_progress is not None:
            self.meter.prompt(chunk.prompt_progress.total, chunk.prompt_progress.cache)
            return b""
        usage = self._usage(chunk.usage) if chunk.usage else None
        text_bytes = extra_bytes = 0
        is_finish = False
        for choice in choices:
            is_finish = is_finish or choice.finish_reason is not None
            for text in _texts(choice):
                text_bytes += len(text)
                if not text.isascii():
                    extra_bytes += len(text.encode("utf-8", "surrogatepass")) - sum(map(str.isascii, text))
            if choice.delta is not None and choice.delta.tool_calls:
                text_bytes += TOOL_HEAD_TOKENS
                extra_bytes += TOOL_HEAD_TOKENS * any(
                    call.function is not None and call.function.name for call in choice.delta.tool_calls
                )
        if text_bytes:
            self.meter.delivered(text_bytes=text_bytes, extra_bytes=extra_bytes, running=usage)
        elif usage is not None and choices and not is_finish:
            self.meter.ran(usage)
        # Of several choices each has a finish of its own; only the last chunk then counts all of them.
        if usage is not None and (not choices or (is_finish and self.meter.choices == 1)):
            self.meter.final(usage)
        if not chunk.timings and (not chunk.usage or (self._keep_usage and not choices)):
            return frame
        return self._without_ours(payload, is_usage_chunk=not choices)

    def _usage(self, raw: msgspec.Raw) -> EngineUsage | None:
        """A usage object, or None where the engine wrote ``null`` or nonsense."""
        if bytes(raw) == b"null":
            return None
        try:
            return _usages.decode(raw)
        except msgspec.DecodeError:
            self.malformed += 1
            return None

    def _without_ours(self, payload: bytes, *, is_usage_chunk: bool) -> bytes:
        if is_usage_chunk and not self._keep_usage:
            return b""
        members = _members.decode(payload)
        for name in _OURS:
            members.pop(name, None)
        if not self._keep_usage:
            members.pop("usage", None)
        elif not is_usage_chunk and "usage" in members:
            # OpenAI's own streams carry null here until the last chunk.
            members["usage"] = msgspec.Raw(b"null")
        return b"data: " + _encode(members) + b"\n\n"


def _end_of_frame(buffer: bytes, search: int, *, has_returns: bool) -> int:
    """Where the frame that begins at or before ``search`` ends; 0 when its end has not come."""
    if has_returns:
        boundary = _BOUNDARY.search(buffer, search)
        return boundary.end() if boundary is not None else 0
    place = buffer.find(b"\n\n", search)
    return place + 2 if place >= 0 else 0


def all_alike(frames: list[bytes]) -> bytes:
    """The frames as one piece, if all have one text of one or few tokens and are otherwise the same bytes; else none.

    Nothing is searched: where the text of the first one stands, that of each other must, and put together again they
    must be what came.
    """
    if not frames:
        return b""
    before, behind = _around_text(frames[0])
    if not before or any(name in frames[0] for name in _NEVER_UNREAD):
        return b""
    start, end = len(before), -len(behind)
    texts = [frame[start:end] for frame in frames]
    whole = b"".join(frames)
    if (behind + before).join(texts) != whole[start:end] or not whole.isascii():
        return b""
    if not all(texts):
        return b""
    said = b"".join(texts)
    # A few hundred bytes: three searches for one byte each cost less than one pattern.
    is_plain = not (b"\\" in said or b'"' in said or b"\n" in said)
    return whole if is_plain or _TEXTS.fullmatch(b"\n".join(texts)) else b""


def _around_text(frame: bytes) -> tuple[bytes, bytes]:
    """What stands before and behind the one text of a frame; nothing if it has none, or is no frame."""
    start = frame.find(_DELTA) + len(_DELTA)
    end = frame.find(b'"', start)
    if start < len(_DELTA) or end <= start or frame[end - 1] == _BACKSLASH:
        found = _ONE_TEXT.fullmatch(frame)
        return (found[1], found[3]) if found is not None else (b"", b"")
    if not (frame.startswith(b"data: {") and frame.endswith(b"\n\n") and frame.count(b"\n") == 2):
        return b"", b""
    return frame[:start], frame[end:]


def _alike(buffer: bytes, start: int, end: int) -> int:
    """How many frames there are, if all have one text of one or few tokens and are otherwise the same bytes; else 0.

    An unescaped quotation mark stands in no JSON string, so nothing that a model wrote can look like a frame.
    """
    first = _ONE_TEXT.match(buffer, start, end)
    if first is None or not buffer.isascii() or (buffer.find(b"\\") >= 0 and b"\\u" in buffer):
        return 0
    before, behind = first[1], first[3]
    count = buffer.count(behind + before, start, end) + 1
    is_all = buffer.endswith(behind, start, end) and buffer.count(b"\n", start, end) == 2 * count
    if not is_all or buffer.find(b'"content":""', start, end) >= 0:
        return 0
    return 0 if any(name in before or name in behind for name in _NEVER_UNREAD) else count


def _texts(choice: Choice) -> list[str]:
    """Every piece of text in a choice that is not empty."""
    texts = [choice.text] if choice.text else []
    delta = choice.delta
    if delta is None:
        return texts
    texts.extend(text for text in (delta.content, delta.reasoning_content, delta.reasoning) if text)
    for call in delta.tool_calls or ():
        if call.function is not None:
            texts.extend(text for text in (call.function.name, call.function.arguments) if text)
    return texts
