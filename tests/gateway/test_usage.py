"""The billing figures as arithmetic. Pure."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.gateway.counts import EngineUsage
from moorage.gateway.sse import EventFilter
from moorage.gateway.usage import Meter, of_whole_answer


def frame(text: str, *, running: int | None = None) -> bytes:
    usage = f',"usage":{{"prompt_tokens":5,"completion_tokens":{running}}}' if running is not None else ""
    return f'data: {{"choices":[{{"delta":{{"content":"{text}"}}}}]{usage}}}\n\n'.encode()


def last(claimed: int) -> bytes:
    return b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":%d}}\n\n' % claimed


def settled(*frames: bytes, context_size: int = 1000) -> tuple[int, str, bool]:
    meter = Meter(context_size=context_size)
    EventFilter(meter, keep_usage=False).feed(b"".join(frames))
    found = meter.settle()
    return found.output_tokens, found.source, found.is_disputed


@pytest.mark.parametrize(
    ("frames", "billed"),
    [
        ((), (0, "none", False)),
        ((frame("a"), frame("b")), (2, "gateway", False)),
        ((frame("a", running=1), frame("b", running=2)), (2, "engine_running", False)),
        ((frame("a"), frame("b"), last(2)), (2, "engine", False)),
        # Tokens without text: the end of the text, markers of roles.
        ((frame("a"), last(9)), (9, "engine", False)),
        ((frame("a"), last(10)), (1, "engine", True)),
        # An engine may put several tokens in a frame when its running figure says so and there is text for them.
        ((frame("abcdefgh", running=4), frame("ijklmnop", running=8)), (8, "engine_running", False)),
        ((frame("ab", running=400),), (2, "engine_running", False)),
        # A character of four tokens comes when all four are there.
        ((*[frame("🌊")] * 10, last(40)), (40, "engine", False)),
        ((*[frame("a")] * 40, last(20)), (20, "engine", True)),
        # A figure that goes back is not believed any more.
        ((frame("abc", running=3), frame("b", running=2), frame("c")), (3, "engine_running", True)),
        ((last(0),), (0, "engine", False)),
    ],
)
def test_the_precedence_and_the_clamp(frames: tuple[bytes, ...], billed: tuple[int, str, bool]) -> None:
    assert settled(*frames) == billed


def test_nothing_is_billed_beyond_the_context() -> None:
    assert settled(*[frame("a")] * 50, last(50), context_size=20)[0] == 20


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(st.text(st.characters(codec="ascii", exclude_characters='"\\', min_codepoint=32), min_size=1)),
    claimed=st.integers(min_value=0, max_value=10_000),
    cut=st.lists(st.integers(min_value=1, max_value=40)),
)
def test_no_claim_is_billed_past_what_was_delivered(texts: list[str], claimed: int, cut: list[int]) -> None:
    stream = b"".join(frame(text) for text in texts) + last(claimed)
    meter = Meter(context_size=0)
    filtered, received, position = EventFilter(meter, keep_usage=False), b"", 0
    for size in [*cut, len(stream)]:
        received += filtered.feed(stream[position : position + size])
        position += size

    assert received == b"".join(frame(text) for text in texts)
    assert meter.settle().output_tokens <= max(len(texts) + 8, len(texts) * 1.02)


@pytest.mark.parametrize(
    ("usage", "billed"),
    [
        (EngineUsage(prompt_tokens=10, completion_tokens=5), (10, 5, "engine", False)),
        (EngineUsage(prompt_tokens=10, completion_tokens=50), (10, 20, "engine", True)),
        (EngineUsage(prompt_tokens=1000, completion_tokens=1), (100, 1, "engine", True)),
        (EngineUsage(prompt_tokens=10, completion_tokens=-1), (0, 0, "none", True)),
        (None, (0, 0, "none", True)),
    ],
)
def test_an_answer_in_one_piece_is_clamped_to_what_was_possible(
    usage: EngineUsage | None, billed: tuple[int, int, str, bool]
) -> None:
    found = of_whole_answer(usage, context_size=100, inputs=1, choices=1, output_limit=20)

    assert (found.input_tokens, found.output_tokens, found.source, found.is_disputed) == billed
