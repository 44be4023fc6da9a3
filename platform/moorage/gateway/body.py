"""A request body that has passed every check, whatever API it came by."""

from typing import Any

import msgspec


class Body(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request body that has passed every check."""

    path: str
    model: str
    members: dict[str, Any]
    is_stream: bool
    wants_usage: bool
    #: The body as it came, when it is fit to be sent on with members appended; else empty.
    plain: bytes = b""

    @property
    def choices(self) -> int:
        """Answers to each prompt."""
        count: int = self.members.get("n", 1)
        return count

    @property
    def inputs(self) -> int:
        """Prompts in this request."""
        if "messages" in self.members:
            return 1
        prompts = self.members.get("prompt", self.members.get("input"))
        is_batch = isinstance(prompts, list) and bool(prompts) and not isinstance(prompts[0], int)
        return len(prompts) if is_batch else 1  # type: ignore[arg-type]  # a list, by is_batch

    @property
    def output_limit(self) -> int | None:
        """The caller's limit on output tokens of one choice."""
        limit: int | None = self.members.get("max_completion_tokens", self.members.get("max_tokens"))
        return limit


class PlainBody(Body, frozen=True, kw_only=True, gc=False):
    """A plain body of one prompt: what is asked about it several times a request is looked up once."""

    choices: int = 1
    inputs: int = 1
    output_limit: int | None = None
