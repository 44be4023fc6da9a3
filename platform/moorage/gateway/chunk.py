"""One chunk of an engine's stream: the members that are looked at."""

from typing import Final

import msgspec

#: A member that is not there: Raw cannot be optional.
ABSENT: Final = msgspec.Raw()


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


class Choice(msgspec.Struct, frozen=True):
    """One of the answers that were asked for."""

    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Progress(msgspec.Struct, frozen=True):
    total: int
    cache: int = 0


class Chunk(msgspec.Struct, frozen=True):
    """Of chat or of text completions."""

    choices: list[Choice] | None = None
    usage: msgspec.Raw = ABSENT
    timings: msgspec.Raw = ABSENT
    error: msgspec.Raw = ABSENT
    prompt_progress: _Progress | None = None


def is_usual(chunk: Chunk) -> bool:
    """Whether it has one choice with one text in ASCII, and nothing else that counts.

    It is here and not in native code because the interpreter reads a struct's members faster.
    """
    choices = chunk.choices
    if choices is None or len(choices) != 1:
        return False
    if chunk.usage or chunk.timings or chunk.error or chunk.prompt_progress:
        return False
    choice = choices[0]
    delta = choice.delta
    if delta is None or choice.text is not None or delta.tool_calls is not None:
        return False
    text = delta.content
    if not text or delta.reasoning_content is not None or delta.reasoning is not None:
        return False
    return text.isascii()
