"""A stream of chat completion chunks, read for the sake of another API: counted like any, told in that API's events.

Both engines have a Responses and a Messages route of their own. They are not asked: vLLM 0.32 puts a second begin mark
into a response's prompt (6 input tokens where the chat has 5) and ends a truncated one with ``response.completed``;
llama-server's events have no ``sequence_number``, its ``tool_use`` blocks no ``input``, its matched stop sequences
the reason ``end_turn``; and neither says while it runs what it has used. Chat completions say all of it.
"""

import re
from typing import Final, Protocol

import msgspec

from moorage.gateway.chunks import Chunks, Passage
from moorage.gateway.counts import EngineUsage
from moorage.gateway.settled import Settled
from moorage.gateway.sse import MAX_FRAME_BYTES, FrameTooLarge
from moorage.gateway.usage import TOOL_HEAD_TOKENS, Meter

_BOUNDARY: Final = re.compile(rb"\r?\n\r?\n")
_ABSENT: Final = msgspec.Raw()


class Opening(msgspec.Struct, frozen=True, gc=False):
    """What an engine says of an answer before its first word."""

    id: str  #: the distinguishing part of the engine's id
    created: int  #: Unix seconds
    input_tokens: int
    cached_tokens: int


class Ending(msgspec.Struct, frozen=True, gc=False):
    """Why an answer is over, and what it is billed."""

    reason: str  #: stop | length | tool_calls | content_filter
    stop_sequence: str | None
    settled: Settled


class Teller(Protocol):
    """Writes events of another API. ``begins`` comes first and ``ends`` last, each once."""

    def begins(self, opening: Opening) -> bytes:
        """The answer begins."""

    def thinks(self, text: str) -> bytes:
        """A piece of reasoning."""

    def says(self, text: str) -> bytes:
        """A piece of the answer's text."""

    def calls(self, index: int, call_id: str, name: str, arguments: str) -> bytes:
        """A piece of the tool call ``index``; id and name come with its first piece, else they are empty."""

    def ends(self, ending: Ending) -> bytes:
        """Whatever closes the answer."""


class _Function(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, frozen=True, gc=False):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, frozen=True, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None
    #: vLLM's: the stop sequence that matched, or the number of a stop token.
    stop_reason: str | int | None = None


class _Progress(msgspec.Struct, frozen=True, gc=False):
    total: int
    cache: int = 0


class Verbose(msgspec.Struct, frozen=True, gc=False):
    """llama-server's, where it was asked to name the stop sequence that matched."""

    stopping_word: str = ""


class _Chunk(msgspec.Struct, frozen=True, gc=False):
    id: str = ""
    created: int = 0
    choices: list[_Choice] | None = None
    # Raw cannot be optional: an absent member is empty.
    usage: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT
    prompt_progress: _Progress | None = None
    verbose: Verbose | None = msgspec.field(name="__verbose", default=None)


_chunks: Final = msgspec.json.Decoder(_Chunk)
_usages: Final = msgspec.json.Decoder(EngineUsage)
#: Any value as JSON.
encode: Final = msgspec.json.Encoder().encode


def event(document: dict[str, object]) -> bytes:
    """A server-sent event named by its document's ``type``, as Responses and Messages have them."""
    return b"event: %b\ndata: %b\n\n" % (str(document["type"]).encode("ascii"), encode(document))


def short_id(engine_id: str) -> str:
    """The distinguishing part of ``chatcmpl-…``."""
    return engine_id.rpartition("-")[2]


class ChatStream:
    """A StreamFilter that tells the chat it reads in a Teller's words."""

    __slots__ = (
        *("_cached", "_created", "_has_begun", "_id", "_last", "_prompt", "_reason", "_rest", "_searched", "_stop"),
        *("_teller", "has_error", "is_done", "malformed", "meter"),
    )

    def __init__(self, meter: Meter, teller: Teller) -> None:
        self.meter = meter
        self._teller = teller
        self._rest = b""
        self._searched = 0
        self._has_begun = False
        self._last: bytes | None = None
        self._id, self._created = "", 0
        self._prompt = self._cached = 0
        self._reason = "stop"
        self._stop: str | None = None
        self.is_done = False  # [DONE] was seen
        self.has_error = False  # the engine reported an error in the stream
        self.malformed = 0

    @property
    def last(self) -> bytes:
        """What closes the answer, with the figures that are billed."""
        if self._last is None:
            ending = Ending(self._reason, self._stop, self.meter.settle())
            self._last = self._begun() + self._teller.ends(ending)
        return self._last

    def feed(self, data: bytes) -> bytes:
        """What may go to the client now. Raises FrameTooLarge."""
        buffer = self._rest + data if self._rest else data
        if b"\r" in buffer:
            frames = _BOUNDARY.split(buffer)
        elif buffer.find(b"\n\n", self._searched) >= 0:
            frames = buffer.split(b"\n\n")
        else:
            frames = [buffer]
        self._rest = frames.pop()
        # A boundary may straddle two reads: look again at the last byte only.
        self._searched = max(0, len(self._rest) - 1)
        told = [self._frame(frame) for frame in frames if not (self.is_done or self.has_error)]
        if len(self._rest) > MAX_FRAME_BYTES:
            raise FrameTooLarge
        return b"".join(told)

    def feed_pieces(self, pieces: list[bytes]) -> bytes:
        """The same of bytes in pieces."""
        return self.feed(b"".join(pieces))

    def feed_chunks(self, chunks: Chunks) -> Passage:
        """The same of chunks that were not taken apart yet."""
        return Passage(self.feed(b"".join(chunks.pieces())))

    def _frame(self, frame: bytes) -> bytes:
        if frame.startswith(b"data: {"):
            return self._payload(frame[6:])
        lines = frame.replace(b"\r", b"").split(b"\n")
        payload = b"\n".join([line[5:].lstrip(b" ") for line in lines if line.startswith(b"data:")]).strip()
        if not payload:
            # A comment, kept because it keeps connections alive. Nothing else of the engine's goes out as it is.
            return b":\n\n" if frame.startswith(b":") else b""
        if payload == b"[DONE]":
            self.is_done = True
            return b""
        return self._payload(payload)

    def _payload(self, payload: bytes) -> bytes:
        try:
            chunk = _chunks.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.malformed += 1
            return b""
        return self._chunk(chunk)

    def _chunk(self, chunk: _Chunk) -> bytes:
        if chunk.error and bytes(chunk.error) != b"null":
            self.has_error = True
            return b""
        if not self._id:
            self._id, self._created = short_id(chunk.id), chunk.created
        if chunk.prompt_progress is not None:
            self._prompt, self._cached = chunk.prompt_progress.total, chunk.prompt_progress.cache
            self.meter.prompt(self._prompt, self._cached)
            return b""
        usage = self._usage(chunk.usage) if chunk.usage else None
        if usage is not None and not self._has_begun:
            self._prompt, self._cached = usage.prompt_tokens, usage.cached_tokens
        if chunk.verbose is not None and chunk.verbose.stopping_word:
            self._stop = chunk.verbose.stopping_word
        choices = chunk.choices or []
        for choice in choices:
            if choice.finish_reason is not None:
                self._reason = choice.finish_reason
                self._stop = choice.stop_reason if isinstance(choice.stop_reason, str) else self._stop
        self._count(choices, usage)
        if not choices:
            return b""
        told = b"" if self._has_begun else self._begun()
        for choice in choices:
            if choice.delta is not None:
                told += self._told(choice.delta)
        return told

    def _begun(self) -> bytes:
        if self._has_begun:
            return b""
        self._has_begun = True
        return self._teller.begins(Opening(self._id, self._created, max(0, self._prompt), max(0, self._cached)))

    def _told(self, delta: _Delta) -> bytes:
        told = b""
        thought = delta.reasoning_content or delta.reasoning
        if thought:
            told += self._teller.thinks(thought)
        if delta.content:
            told += self._teller.says(delta.content)
        for call in delta.tool_calls or ():
            function = call.function or _Function()
            told += self._teller.calls(call.index, call.id or "", function.name or "", function.arguments or "")
        return told

    def _count(self, choices: list[_Choice], usage: EngineUsage | None) -> None:
        """Tell the meter, by the rules of ``sse``."""
        text_bytes = extra_bytes = 0
        is_finish = False
        for choice in choices:
            is_finish = is_finish or choice.finish_reason is not None
            if choice.delta is None:
                continue
            for text in _texts(choice.delta):
                text_bytes += len(text)
                if not text.isascii():
                    extra_bytes += len(text.encode("utf-8", "surrogatepass")) - sum(map(str.isascii, text))
            if choice.delta.tool_calls:
                text_bytes += TOOL_HEAD_TOKENS
                extra_bytes += TOOL_HEAD_TOKENS * any(
                    call.function is not None and call.function.name for call in choice.delta.tool_calls
                )
        if text_bytes:
            self.meter.delivered(text_bytes=text_bytes, extra_bytes=extra_bytes, running=usage)
        elif usage is not None and choices and not is_finish:
            self.meter.ran(usage)
        if usage is not None and (not choices or is_finish):
            self.meter.final(usage)

    def _usage(self, raw: msgspec.Raw) -> EngineUsage | None:
        """A usage object, or None where the engine wrote ``null`` or nonsense."""
        if bytes(raw) == b"null":
            return None
        try:
            return _usages.decode(raw)
        except msgspec.DecodeError:
            self.malformed += 1
            return None


def _texts(delta: _Delta) -> list[str]:
    """Every piece of text that is not empty."""
    texts = [text for text in (delta.content, delta.reasoning_content, delta.reasoning) if text]
    for call in delta.tool_calls or ():
        if call.function is not None:
            texts.extend(text for text in (call.function.name, call.function.arguments) if text)
    return texts
