"""What one request is billed: the engine's figures, never above what was seen going to the client.

Precedence: the engine's final figure, else its running figure, else the gateway's own count of delivered frames.
Nothing delivered is nothing billed. A figure that the delivered frames do not bear out is billed at the lower one
and counted as a disagreement.
"""

from typing import Final

from moorage.gateway.counts import EngineUsage
from moorage.gateway.settled import Settled

#: How far an engine's figure may exceed the frames: tokens without text (end of text, role markers) per choice.
_TOLERANCE_TOKENS: Final = 8
_TOLERANCE_SHARE: Final = 0.02
#: Tokens that an engine's parser may swallow when it turns text into the head of a tool call.
TOOL_HEAD_TOKENS: Final = 24
_NO_LIMIT: Final = 1 << 40


NOTHING: Final = Settled()


class Meter:
    """Counts along one stream."""

    __slots__ = ("_bound", "_cached", "_context", "_final", "_is_disputed", "_prompt", "_running", "choices", "frames")

    def __init__(self, *, context_size: int, choices: int = 1) -> None:
        self._context = context_size or _NO_LIMIT
        self.choices = choices
        self.frames = 0  # data frames with text in them that were delivered
        self._bound = 0  # the most tokens that those frames can stand for
        self._prompt: int | None = None
        self._cached = 0
        self._running: int | None = None
        self._final: int | None = None
        self._is_disputed = False

    def prompt(self, total: int, cached: int) -> None:
        """The engine said how long the prompt is before it generated anything."""
        if total >= 0 and cached >= 0:
            self._prompt, self._cached = total, cached

    def delivered(self, *, text_bytes: int, extra_bytes: int, running: EngineUsage | None) -> None:
        """A frame with text went to the client.

        ``text_bytes`` is the length of its text, ``extra_bytes`` how many of them may each hide another token
        (bytes of characters beyond ASCII: an engine holds a character back until all its tokens are there).
        """
        self.frames += 1
        if running is None or not self._advance(running):
            self._bound += 1 + extra_bytes
            return
        assert self._running is not None
        step = self._running - self._bound
        self._bound += max(1, min(step, text_bytes + extra_bytes))

    def relayed(self, frames: int) -> None:
        """That many frames with text of one token each, or of few, went to the client unread."""
        self.frames += frames
        self._bound += frames

    def ran(self, running: EngineUsage) -> None:
        """A running figure came on a frame without text."""
        self._advance(running)

    def final(self, usage: EngineUsage) -> None:
        """The engine's last word; of two, the lower counts."""
        prompt, output, cached = usage.figures()
        if prompt < 0 or output < 0 or cached < 0:
            self._is_disputed = True
            return
        if self._final is not None and self._final != output:
            self._is_disputed = True
            self._final = min(self._final, output)
        else:
            self._final = output
        self.prompt(prompt, cached)

    def settle(self) -> Settled:
        """What is billed if the stream ends here."""
        if self.frames == 0 and self._final is None:
            return NOTHING
        if self._final is not None:
            claimed, source = self._final, "engine"
        elif self._running is not None:
            claimed, source = self._running, "engine_running"
        else:
            claimed, source = self.frames, "gateway"
        output, is_disputed = claimed, self._is_disputed
        slack = max(_TOLERANCE_TOKENS * self.choices, int(self._bound * _TOLERANCE_SHARE))
        if source != "engine":
            # No last word: what is billed must have been seen.
            output = min(claimed, self.frames if is_disputed else self._bound)
        elif claimed > self._bound + slack:
            output, is_disputed = self._bound, True
        elif claimed < self.frames - max(_TOLERANCE_TOKENS * self.choices, int(self.frames * _TOLERANCE_SHARE)):
            is_disputed = True
        prompt = min(self._prompt or 0, self._context)
        return Settled(
            input_tokens=prompt,
            cached_tokens=min(self._cached, prompt),
            output_tokens=min(output, self._context * self.choices),
            source=source,  # type: ignore[arg-type]  # the three literals above
            is_disputed=is_disputed,
        )

    def _advance(self, running: EngineUsage) -> bool:
        """Take a running figure. Returns whether it can be trusted."""
        prompt, output, cached = running.figures()
        is_possible = prompt >= 0 and output >= 0 and cached >= 0
        if not is_possible or (self._running is not None and output < self._running):
            self._is_disputed = True
            return False
        self._running = output
        self.prompt(prompt, cached)
        return True


def of_whole_answer(
    usage: EngineUsage | None, context_size: int, inputs: int, choices: int, output_limit: int | None
) -> Settled:
    """What an answer in one piece is billed; without a usable figure of the engine that is nothing.

    ``inputs`` is the number of prompts, ``choices`` the answers to each, ``output_limit`` the caller's max_tokens.
    """
    if usage is None:
        return Settled(source="none", is_disputed=True)
    prompt, output, cached = usage.figures()
    if prompt < 0 or output < 0 or cached < 0:
        return Settled(source="none", is_disputed=True)
    context = context_size or _NO_LIMIT
    limit = context if not output_limit or output_limit > context else output_limit
    most_prompt, most_output = context * inputs, limit * inputs * choices
    is_disputed = prompt > most_prompt or output > most_output
    if is_disputed:
        prompt, output = min(prompt, most_prompt), min(output, most_output)
    return Settled(
        input_tokens=prompt,
        cached_tokens=cached if cached < prompt else prompt,
        output_tokens=output,
        source="engine",
        is_disputed=is_disputed,
    )
