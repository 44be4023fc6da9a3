"""Token counts that are billed, and where they come from."""

from typing import Final

from moorage.wire.records import UsageSource


class Settled:
    """What one request is billed."""

    __slots__ = ("cached_tokens", "input_tokens", "is_disputed", "output_tokens", "source")

    def __init__(
        self,
        *,
        input_tokens: int = 0,
        cached_tokens: int = 0,
        output_tokens: int = 0,
        source: UsageSource = "none",
        is_disputed: bool = False,
    ) -> None:
        self.input_tokens: Final = input_tokens
        self.cached_tokens: Final = cached_tokens
        self.output_tokens: Final = output_tokens
        self.source: Final = source
        #: The engine's figure was not borne out, and the lower one was taken.
        self.is_disputed: Final = is_disputed

    def _members(self) -> tuple[int, int, int, str, bool]:
        return self.input_tokens, self.cached_tokens, self.output_tokens, self.source, self.is_disputed

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settled) and self._members() == other._members()

    def __hash__(self) -> int:
        return hash(self._members())

    def __repr__(self) -> str:
        return f"Settled{self._members()}"
