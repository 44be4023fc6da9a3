"""Every second of a replica is in exactly one state, whoever meters it and when."""

import datetime as dt
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.deployments import replica_states
from moorage.deployments.models import ReplicaStatus
from moorage.metering import replica_seconds
from moorage.metering.replica_seconds import Piece

R = ReplicaStatus
BEGIN = dt.datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return BEGIN + dt.timedelta(seconds=seconds)


def by_state(pieces: list[Piece]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in pieces:
        found[one.state] = found.get(one.state, 0) + int((one.ended_at - one.started_at).total_seconds())
    return found


def test_a_whole_life_is_split_by_what_the_replica_did() -> None:
    spans = [
        (R.PENDING, at(-30)),
        (R.PLACED, at(0)),
        (R.PULLING, at(1)),
        (R.STARTING, at(20)),
        (R.READY, at(25)),
        (R.DRAINING, at(100)),
        (R.FROZEN, at(110)),
        (R.READY, at(200)),
        (R.DRAINING, at(210)),
        (R.STOPPED, at(220)),
        (R.STARTING, at(300)),
        (R.READY, at(302)),
        (R.STOPPING, at(310)),
    ]
    busy = [(at(30), at(40)), (at(35), at(50)), (at(105), at(108)), (at(305), at(400))]

    pieces = replica_states.pieces(spans, busy, start=at(0), until=at(1000))

    assert by_state(pieces) == {
        "pull": 20,
        "load": 7,
        "busy": 20 + 3 + 5,
        "idle": 5 + 50 + 5 + 2 + 20 + 3,
        "frozen": 90,
    }


@pytest.mark.parametrize(("length", "busy"), [(0.4, 0), (0.6, 1), (1.4, 1), (9.6, 10)])
def test_a_part_of_a_second_counts_as_the_nearer_whole(length: float, busy: int) -> None:
    pieces = replica_states.pieces([(R.READY, at(0))], [(at(10), at(10 + length))], start=at(0), until=at(60))

    assert by_state(pieces) == {state: n for state, n in (("idle", 60 - busy), ("busy", busy)) if n}


def test_a_clock_that_was_put_back_makes_no_second_twice() -> None:
    spans = [(R.PLACED, at(0)), (R.STARTING, at(50)), (R.READY, at(20)), (R.STOPPING, at(70))]

    assert by_state(replica_states.pieces(spans, (), start=at(0), until=at(100))) == {"pull": 50, "idle": 20}
    assert replica_states.pieces(spans, (), start=at(60), until=at(10)) == []


STEPS = st.lists(st.tuples(st.sampled_from(list(R)), st.integers(-3_000, 40_000)), min_size=1, max_size=12)
BUSY = st.lists(st.tuples(st.integers(0, 200_000), st.integers(-500, 20_000)), max_size=12)


@settings(max_examples=400, deadline=None)
@given(STEPS, BUSY, st.lists(st.integers(-2_000, 30_000), max_size=12))
def test_states_and_moments_of_metering_in_any_order_add_up_to_the_whole_time(
    steps: list[tuple[ReplicaStatus, int]], busy: list[tuple[int, int]], moments: list[int]
) -> None:
    """Milliseconds: each status after a time (also a negative one), each look after a time (also a negative one)."""
    spans, now = [], 0
    for status, wait in [(R.PLACED, 0), *steps]:
        now += wait
        spans.append((status, at(now / 1000)))
    ranges = [(at(begin / 1000), at((begin + length) / 1000)) for begin, length in busy]
    latest = max(began for _, began in spans)
    end = latest + dt.timedelta(milliseconds=777)

    once = replica_states.pieces(spans, ranges, start=at(0), until=end)
    start, bits = at(0), []
    for moment in [*(at(sum(moments[: index + 1]) / 1000) for index in range(len(moments))), end]:
        until = min(moment, end)
        if until > start:
            bits += replica_states.pieces(spans, ranges, start=start, until=until)
            start += (until - start) // dt.timedelta(seconds=1) * dt.timedelta(seconds=1)

    assert by_state(bits) == by_state(once)
    seconds = [one.started_at + dt.timedelta(seconds=n) for one in bits for n in range(_length(one))]
    assert len(seconds) == len(set(seconds))
    forward = [(status, max(began for _, began in spans[: index + 1])) for index, (status, began) in enumerate(spans)]
    ends = [began for _, began in forward[1:]] + [end]
    held = sum(
        ((until - began) for (status, began), until in zip(forward, ends, strict=True) if _is_held(status)),
        dt.timedelta(),
    )
    # The whole time that something was held, but for half a second at each change between held and not held.
    changes = sum(_is_held(a) != _is_held(b) for (a, _), (b, _) in itertools.pairwise(forward))
    assert abs(held.total_seconds() - len(seconds)) <= 1 + changes / 2


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 420 * 24 * 3600 * 1_000_000),
    st.lists(st.integers(0, 50 * 24 * 3600), min_size=1, max_size=4),
)
def test_rows_of_a_piece_have_all_its_seconds_and_cross_no_month(began: int, lengths: list[int]) -> None:
    """Microseconds after the beginning of a year, and seconds."""
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=began)
    known, total = None, 0
    for length in lengths:
        end = start + dt.timedelta(seconds=length)
        rows = list(replica_seconds.rows(Piece(state="idle", started_at=start, ended_at=end), after=known))
        for row in rows:
            last = row.started_at + dt.timedelta(seconds=row.seconds) - dt.timedelta(microseconds=1)
            assert known is None or row.started_at >= known
            assert (row.ended_at.year, row.ended_at.month) == (last.year, last.month)
            known, total = row.ended_at, total + row.seconds
        start = end

    assert total == sum(lengths)


def test_a_month_ends_with_its_last_second() -> None:
    border = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
    piece = Piece(
        state="busy", started_at=border - dt.timedelta(seconds=10), ended_at=border + dt.timedelta(seconds=10)
    )

    before, after = replica_seconds.rows(piece, after=None)

    assert (before.seconds, after.seconds) == (10, 10)
    assert before.ended_at < border == after.started_at


def _length(piece: Piece) -> int:
    return int((piece.ended_at - piece.started_at).total_seconds())


def _is_held(status: str) -> bool:
    return replica_states.is_metered(status)
