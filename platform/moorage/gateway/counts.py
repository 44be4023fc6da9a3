"""Token counts as an engine writes them."""

from typing import Final

import msgspec


class _Details(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None


class EngineUsage(msgspec.Struct, frozen=True):
    """The ``usage`` object of OpenAI's answers, as both engines write it."""

    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens taken from the prefix cache."""
        details = self.prompt_tokens_details
        return details.cached_tokens or 0 if details is not None else 0

    def figures(self) -> tuple[int, int, int]:
        """Prompt tokens, completion tokens, and those of the prompt taken from the prefix cache. Below 0: no count."""
        return self.prompt_tokens, self.completion_tokens, self.cached_tokens


#: A member that is not there: Raw cannot be optional.
_ABSENT: Final = msgspec.Raw()


class UsualAnswer(msgspec.Struct, frozen=True, gc=False):
    """What is read of an answer in one piece; its other members pass unread."""

    usage: EngineUsage | None = None
    timings: msgspec.Raw = _ABSENT
