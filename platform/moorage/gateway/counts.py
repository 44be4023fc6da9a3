"""Token counts as an engine writes them and as they are billed."""

import msgspec

from moorage.wire.records import UsageSource


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

    @property
    def is_possible(self) -> bool:
        """Whether it can be a count at all."""
        return self.prompt_tokens >= 0 and self.completion_tokens >= 0 and self.cached_tokens >= 0


class Settled(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Token counts that are billed, and where they come from."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    source: UsageSource = "none"
    #: The engine's figure was not borne out, and the lower one was taken.
    is_disputed: bool = False
