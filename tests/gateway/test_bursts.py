"""Many frames in one read: relayed in one piece, counted as if each had been looked at. Pure."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.gateway.alike import all_alike
from moorage.gateway.chunks import Chunks
from moorage.gateway.sse import DONE, EventFilter
from moorage.gateway.usage import Meter


def chunk(text: str, **more: Any) -> bytes:
    """A frame as an engine writes it."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    whole = {"id": "c" * 60, "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return b"data: " + json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


END = [
    b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":%d}}\n\n',
]


def relayed(*frames: bytes, keep_usage: bool = True) -> tuple[bytes, Meter]:
    meter = Meter(context_size=0)
    return EventFilter(meter, keep_usage=keep_usage).feed(b"".join(frames)), meter


def in_pieces(*pieces: bytes, keep_usage: bool = True) -> tuple[bytes, Meter]:
    meter = Meter(context_size=0)
    return EventFilter(meter, keep_usage=keep_usage).feed_pieces([*pieces]), meter


def in_chunks(*frames: bytes, keep_usage: bool = True) -> tuple[bytes, Meter]:
    """What a client gets of whole chunks, framing and all taken off again."""
    meter = Meter(context_size=0)
    data = b"".join([b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames])
    passage = EventFilter(meter, keep_usage=keep_usage).feed_chunks(Chunks(data, 0, len(data), len(frames)))
    alike = passage.alike
    if alike is not None:
        assert len(alike.pieces()) == alike.count
    return passage.before + b"".join(alike.pieces() if alike is not None else ()) + passage.behind, meter


def one_by_one(*frames: bytes, keep_usage: bool = True) -> tuple[bytes, Meter]:
    meter = Meter(context_size=0)
    stream = EventFilter(meter, keep_usage=keep_usage)
    return b"".join([stream.feed(frame) for frame in frames]), meter


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(st.text(max_size=4), min_size=12, max_size=60),
    odd=st.sampled_from([b"", chunk("x", created=2), chunk("x", usage={"prompt_tokens": 5, "completion_tokens": 9})]),
    keep_usage=st.booleans(),
    cut=st.integers(min_value=0, max_value=11),
)
def test_a_burst_says_and_counts_what_its_frames_do(texts: list[str], odd: bytes, keep_usage: bool, cut: int) -> None:
    frames = [chunk(text) for text in texts]
    frames.insert(len(frames) // 2, odd)
    frames = [*frames, END[0], END[1] % len(texts), DONE]

    pieces = [*frames[:cut], frames[cut][:50], frames[cut][50:], *frames[cut + 1 :]]

    expected, counted = one_by_one(*filter(None, frames), keep_usage=keep_usage)
    for told, meter in [
        relayed(*frames, keep_usage=keep_usage),
        in_pieces(*frames, keep_usage=keep_usage),
        in_pieces(*pieces, keep_usage=keep_usage),
        in_chunks(*filter(None, frames), keep_usage=keep_usage),
        in_chunks(*filter(None, pieces), keep_usage=keep_usage),
    ]:
        assert told == expected
        assert meter.frames == counted.frames
        assert meter.settle() == counted.settle()


def test_what_ends_a_stream_goes_on_with_the_burst_before_it_where_nothing_is_taken_from_it() -> None:
    frames = [*[chunk("a")] * 20, END[0], END[1] % 20, DONE]
    data = b"".join([b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames])

    kept = EventFilter(Meter(context_size=0), keep_usage=True).feed_chunks(Chunks(data, 0, len(data), 23))
    cut = EventFilter(Meter(context_size=0), keep_usage=False).feed_chunks(Chunks(data, 0, len(data), 23))

    assert kept.alike is not None
    assert cut.alike is not None
    assert (kept.before, kept.alike.count, kept.behind) == (b"", 22, b"")
    assert (cut.before, cut.alike.count, cut.behind) == (b"", 21, b"")


def test_a_burst_that_is_cut_is_billed_by_its_frames() -> None:
    _, meter = relayed(*[chunk("a")] * 50)

    assert (meter.settle().output_tokens, meter.settle().source) == (50, "gateway")


@pytest.mark.parametrize(
    "frame",
    [
        b'data: {"error":{"message":"out of memory"}}\n\n',
        b"data: no JSON\n\n",
        chunk(""),
        chunk('say "\n\ndata: {"'),
        chunk("b").replace(b'"b"', b'"\r"'),
    ],
    ids=["an error", "no JSON", "no text", "a frame in a text", "a bare return in a text"],
)
def test_what_is_unlike_the_others_is_looked_at(frame: bytes) -> None:
    frames = [*[chunk("a")] * 20, frame, *[chunk("a")] * 20]

    expected, counted = one_by_one(*frames)

    for told, meter in [relayed(*frames), in_pieces(*frames), in_chunks(*frames)]:
        assert (told, meter.frames) == (expected, counted.frames)


@pytest.mark.parametrize("text", ["b", "\n", 'b"c', "\\", "two words"])
def test_frames_that_differ_in_their_text_alone_pass_as_one(text: str) -> None:
    frames = [chunk("a"), chunk(text), chunk("c")]

    assert all_alike(frames) == b"".join(frames)


@pytest.mark.parametrize(
    "frame",
    [
        chunk(""),
        chunk("é"),
        chunk("\x01"),
        chunk("b", created=2),
        chunk("b")[:-1],
        b"",
        chunk("b").replace(b'"b"', b'"\r"'),
    ],
)
def test_a_frame_that_must_be_looked_at_passes_with_no_others(frame: bytes) -> None:
    assert all_alike([chunk("a"), frame, chunk("c")]) == b""
