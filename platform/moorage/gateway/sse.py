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

from moorage.gateway.alike import alike, all_alike, around_text, count_alike
from moorage.gateway.chunk import Choice, Chunk, is_usual
from moorage.gateway.chunks import MANY, Chunks, Passage, span_at
from moorage.gateway.counts import EngineUsage
from moorage.gateway.usage import TOOL_HEAD_TOKENS, Meter

#: A frame larger than this is no token but a broken engine.
MAX_FRAME_BYTES: Final = 1024 * 1024
DONE: Final = b"data: [DONE]\n\n"
_BOUNDARY: Final = re.compile(rb"\r?\n\r?\n")
#: From this size on a read is looked at for frames that need no decoding.
_BURST_BYTES: Final = 2048
_TAIL_FRAMES: Final = 3
#: Frames at the beginning of a read that may be the one that others are like: before it stand roles and progress.
_FIRST_FRAMES: Final = 4
_RETURN: Final = ord("\r")
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
            if end == len(buffer) and buffer.startswith(b"data: {") and _RETURN not in buffer:
                # The usual case at the usual pace: one frame in one read.
                self._rest, self._searched = b"", 0
                return self._chunk(buffer, buffer[6:-2])
            if buffer == DONE:
                self._rest, self._searched = b"", 0
                self.is_done = True
                return b""
        kept: list[bytes] = []
        position, same_from, search = 0, 0, self._searched
        has_returns = _RETURN in buffer
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
        if len(pieces) < MANY:
            return self.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        told: list[bytes] = []
        position, last = 0, len(pieces) - _TAIL_FRAMES - 1
        while position < last and (self._rest or not self.meter.frames):
            told.append(self.feed(pieces[position]))
            position += 1
        middle = pieces[position:last]
        if not (self._rest or self.is_done or self.has_error) and (passed := all_alike(middle)):
            self.meter.relayed(len(middle))
            told.append(passed)
            position = last
        told.append(self.feed(b"".join(pieces[position:])))
        return b"".join(told)

    def feed_chunks(self, chunks: Chunks) -> Passage:
        """The same of many chunks that were not taken apart yet."""
        data, at = chunks.data, chunks.start
        told: list[bytes] = []
        for _ in range(_FIRST_FRAMES):
            if self._rest or self.is_done or self.has_error:
                break
            length, begin = span_at(data, at)
            frame = data[begin : begin + length]
            next_at = begin + length + 2
            before, behind = around_text(frame)
            if before and _is_usual_frame(frame):
                found = alike(data, next_at, chunks.end, before, behind)
                if found is None:
                    break
                found.start = at
                found.count += 1
                self.meter.relayed(found.count)
                return self._passage(b"".join(told), found, chunks.end)
            told.append(self.feed(frame))
            at = next_at
        told.append(self.feed(b"".join(Chunks(data, at, chunks.end, 0).pieces())))
        return Passage(b"".join(told))

    def _passage(self, before: bytes, same: Chunks, end: int) -> Passage:
        """With what stands behind the same ones, up to ``end``: it goes on with them as it is while it may."""
        data, at = same.data, same.end
        told: list[bytes] = []
        is_unchanged = True
        while at < end:
            length, begin = span_at(data, at)
            frame = data[begin : begin + length]
            passed = self.feed(frame)
            at = begin + length + 2
            is_unchanged = is_unchanged and passed is frame
            if is_unchanged:
                same.end = at
                same.count += 1
            elif passed:
                told.append(passed)
        return Passage(before, same, b"".join(told))

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
        frames = count_alike(buffer, position, end + 2)
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
        if is_usual(chunk):
            self.meter.relayed(1)
            return frame
        choices = chunk.choices or ()
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


def _is_usual_frame(frame: bytes) -> bool:
    try:
        return is_usual(_chunks.decode(frame[6:-2]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _end_of_frame(buffer: bytes, search: int, *, has_returns: bool) -> int:
    """Where the frame that begins at or before ``search`` ends; 0 when its end has not come."""
    if has_returns:
        boundary = _BOUNDARY.search(buffer, search)
        return boundary.end() if boundary is not None else 0
    place = buffer.find(b"\n\n", search)
    return place + 2 if place >= 0 else 0


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
