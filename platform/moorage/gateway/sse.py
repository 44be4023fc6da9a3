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

from moorage.gateway.usage import TOOL_HEAD_TOKENS, EngineUsage, Meter

#: A frame larger than this is no token but a broken engine.
MAX_FRAME_BYTES: Final = 1024 * 1024
DONE: Final = b"data: [DONE]\n\n"
_BOUNDARY: Final = re.compile(rb"\r?\n\r?\n")
#: From this size on a read is looked at for frames that need no decoding.
_BURST_BYTES: Final = 2048
_TAIL_FRAMES: Final = 3
_PLAIN_TEXT: Final = b'"delta":{"content":"'
#: An empty text, text that was escaped, members that are ours.
_UNUSUAL: Final = (b'"content":""', b"\\u", b'"usage":{', b'"error":')
_OURS: Final = ("timings", "prompt_progress")
_ABSENT: Final = msgspec.Raw()


class FrameTooLarge(Exception):
    """The engine sent a megabyte without an end of frame."""


class _Function(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, frozen=True):
    function: _Function | None = None


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Progress(msgspec.Struct, frozen=True):
    total: int
    cache: int = 0


class _Chunk(msgspec.Struct, frozen=True):
    choices: list[_Choice] | None = None
    # Raw cannot be optional: an absent member is empty.
    usage: msgspec.Raw = _ABSENT
    timings: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    prompt_progress: _Progress | None = None


_chunks: Final = msgspec.json.Decoder(_Chunk)
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
        if buffer.endswith(b"\n\n") and not (self.is_done or self.has_error):
            end = buffer.find(b"\n\n")
            if end == len(buffer) - 2 and buffer.startswith(b"data: {") and b"\r" not in buffer:
                # The usual case at the usual pace: one frame in one read.
                self._rest, self._searched = b"", 0
                return self._chunk(buffer, buffer[6:-2])
            if len(buffer) > _BURST_BYTES and self.meter.frames:
                return self._burst(buffer)
        kept: list[bytes] = []
        position, search = 0, self._searched
        for boundary in _BOUNDARY.finditer(buffer, search):
            frame = buffer[position : boundary.end()]
            position = boundary.end()
            if not (self.is_done or self.has_error):
                kept.append(self._frame(frame))
                if self.meter.frames and len(buffer) - position > _BURST_BYTES and buffer.endswith(b"\n\n"):
                    kept.append(self._burst(buffer[position:]))
                    return b"".join(kept)
        self._rest = buffer[position:]
        # A boundary may straddle two reads: look again at its last three bytes only.
        self._searched = max(0, len(self._rest) - 3)
        if len(self._rest) > MAX_FRAME_BYTES:
            raise FrameTooLarge
        return b"".join(kept)

    def _burst(self, buffer: bytes) -> bytes:
        """Many whole frames behind the first text: all but the last few are relayed unread if they are plain text.

        What ends a stream (finish, usage, [DONE], an error) stands in the last few frames. Unescaped quotation marks
        stand in no JSON string, so the pattern counts frames and nothing that a model wrote.
        """
        self._rest, self._searched = b"", 0
        place = len(buffer)
        for _ in range(_TAIL_FRAMES + 1):
            place = buffer.rfind(b"\n\n", 0, place)
        middle, tail = buffer[: place + 2], buffer[place + 2 :]
        frames = middle.count(_PLAIN_TEXT)
        if (
            frames == middle.count(b"\ndata: {") + 1
            and middle.isascii()
            and middle.startswith(b"data: {")
            and not any(mark in middle for mark in _UNUSUAL)
        ):
            self.meter.relayed(frames)
        else:
            middle, tail = b"", buffer
        kept = [middle]
        position = 0
        for boundary in _BOUNDARY.finditer(tail):
            if not (self.is_done or self.has_error):
                kept.append(self._frame(tail[position : boundary.end()]))
            position = boundary.end()
        return b"".join(kept)

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
        if chunk.error and bytes(chunk.error) != b"null":
            self.has_error = True
            return b""
        if chunk.prompt_progress is not None:
            self.meter.prompt(chunk.prompt_progress.total, chunk.prompt_progress.cache)
            return b""
        usage = self._usage(chunk.usage) if chunk.usage else None
        choices = chunk.choices or []
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
        if not chunk.usage and not chunk.timings:
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


def _texts(choice: _Choice) -> list[str]:
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
