"""An engine's answer in one piece: its usage read, its private members removed, its errors put into our words."""

from typing import Any, Final

import msgspec

from moorage.gateway.body import Body
from moorage.gateway.counts import EngineUsage, UsualAnswer
from moorage.gateway.errors import EngineBusy, EngineFailed, EngineRefused
from moorage.gateway.settled import Settled
from moorage.gateway.usage import of_whole_answer
from moorage.wire.records import Route

#: Statuses that say something about the caller's request; any other 4xx is our mistake, not theirs.
_CALLERS_FAULT: Final = frozenset({400, 413, 422})
_BUSY: Final = frozenset({429, 503})
_MESSAGE_MAX: Final = 2000

_usual: Final = msgspec.json.Decoder(UsualAnswer)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_usages: Final = msgspec.json.Decoder(EngineUsage)


class WholeAnswer:
    """What the client gets, and what is billed for it."""

    __slots__ = ("content", "settled")

    def __init__(self, *, content: bytes, settled: Settled) -> None:
        self.content: Final = content
        self.settled: Final = settled


def read(status: int, content: bytes, body: Body, route: Route) -> WholeAnswer:
    """The answer to ``body``. Raises EngineRefused, EngineBusy or EngineFailed."""
    if status in _BUSY:
        raise EngineBusy
    if status in _CALLERS_FAULT:
        raise EngineRefused(_message(content), status=status)
    if status != 200 or body.is_stream:
        raise EngineFailed
    try:
        usual = _usual.decode(content)
        if not usual.timings:
            settled = of_whole_answer(usual.usage, route.context_size, body.inputs, body.choices, body.output_limit)
            return WholeAnswer(content=content, settled=settled)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # looked at more closely
    try:
        members = _members.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineFailed from None
    usage = _usage(members.get("usage"))
    settled = of_whole_answer(usage, route.context_size, body.inputs, body.choices, body.output_limit)
    if "timings" in members:
        # llama-server's own, not part of OpenAI's format.
        del members["timings"]
        content = msgspec.json.encode(members)
    return WholeAnswer(content=content, settled=settled)


def _usage(raw: msgspec.Raw | None) -> EngineUsage | None:
    if raw is None:
        return None
    try:
        return _usages.decode(raw)
    except msgspec.DecodeError:
        return None


def _message(content: bytes) -> str:
    """The sentence in an engine's error: llama-server's and vLLM's shapes."""
    try:
        document: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if isinstance(document, dict):
        inner = document.get("error")
        message = inner.get("message") if isinstance(inner, dict) else document.get("message")
        if isinstance(message, str) and message:
            return message[:_MESSAGE_MAX]
    return "The model's engine refused the request."
