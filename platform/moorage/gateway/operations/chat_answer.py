"""An answer of chat completions in one piece, read for the sake of another API."""

from typing import Final

import msgspec

from moorage.gateway import whole_answer
from moorage.gateway.body import Body
from moorage.gateway.errors import EngineFailed
from moorage.gateway.operations.chat_stream import Ending, Verbose, short_id
from moorage.gateway.settled import Settled
from moorage.wire.records import Route


class Function(msgspec.Struct, frozen=True, gc=False):
    """The called function; ``arguments`` is JSON as the model wrote it."""

    name: str
    arguments: str | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """One tool call."""

    function: Function
    id: str | None = None


class Message(msgspec.Struct, frozen=True, gc=False):
    """What the model said."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None

    @property
    def thought(self) -> str:
        """Its reasoning: each engine has its own name for it."""
        return self.reasoning_content or self.reasoning or ""


class _Choice(msgspec.Struct, frozen=True, gc=False):
    message: Message
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class _Answer(msgspec.Struct, frozen=True, gc=False):
    choices: list[_Choice]
    id: str = ""
    created: int = 0
    verbose: Verbose | None = msgspec.field(name="__verbose", default=None)


class ChatAnswer(msgspec.Struct, frozen=True, gc=False):
    """The one choice of an answer, why it ended, and what it is billed."""

    id: str
    created: int
    message: Message
    ending: Ending

    @property
    def settled(self) -> Settled:
        """What it is billed."""
        return self.ending.settled


_answers: Final = msgspec.json.Decoder(_Answer)


def read(status: int, content: bytes, body: Body, route: Route) -> ChatAnswer:
    """The chat answer to ``body``. Raises EngineRefused, EngineBusy or EngineFailed."""
    whole = whole_answer.read(status, content, body, route)
    try:
        answer = _answers.decode(whole.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineFailed from None
    if not answer.choices:
        raise EngineFailed
    choice = answer.choices[0]
    stop = choice.stop_reason if isinstance(choice.stop_reason, str) else None
    if stop is None and answer.verbose is not None:
        stop = answer.verbose.stopping_word or None
    return ChatAnswer(
        id=short_id(answer.id),
        created=answer.created,
        message=choice.message,
        ending=Ending(choice.finish_reason or "stop", stop, whole.settled),
    )
