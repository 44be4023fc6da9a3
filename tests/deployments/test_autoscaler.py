"""The autoscaler, as tables."""

import dataclasses
import datetime as dt

import pytest

from moorage.deployments.autoscaler import KV_FULL, PANIC_LASTS, QUEUE_PATIENCE, Load, Memory, Policy, Wanted, decide
from moorage.deployments.load_window import STABLE, LoadWindow, with_chance

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
POLICY = Policy(minimum=0, maximum=8, idle_seconds=600, slots=4)


def ago(seconds: float) -> dt.datetime:
    return NOW - dt.timedelta(seconds=seconds)


def minute_of(load: float, *, until: dt.datetime = NOW) -> LoadWindow:
    """A whole minute that was looked at every two seconds, with this load in it."""
    window = LoadWindow()
    for step in range(45, 0, -1):
        window = window.seeing(load, now=until - dt.timedelta(seconds=2 * step))
    return window


def asked(
    load: Load, *, current: int, policy: Policy = POLICY, memory: Memory | None = None, is_off: bool = False
) -> Wanted:
    """A decision after a minute of the same load, unless told otherwise."""
    before = memory if memory is not None else Memory(window=minute_of(load.requests))
    return decide(policy, load, current=current, memory=before, is_off=is_off, now=NOW)


@pytest.mark.parametrize(
    ("what", "changes", "load", "current", "expected"),
    [
        ("a fresh deployment keeps its one", {}, Load(last_active_at=ago(5), ready=1), 1, 1),
        ("idle goes to zero", {}, Load(last_active_at=ago(600), ready=1), 1, 0),
        ("idle goes to the minimum", {"minimum": 1}, Load(last_active_at=ago(900), ready=3), 3, 1),
        ("never idles", {"idle_seconds": None}, Load(last_active_at=ago(90_000), ready=1), 1, 1),
        ("stays at zero", {}, Load(last_active_at=ago(900)), 0, 0),
        ("a wake brings one", {}, Load(last_active_at=ago(900), is_wake_requested=True), 0, 1),
        ("one waiting request brings one", {"slots": 1}, Load(last_active_at=NOW, waiting=1), 0, 1),
        ("a crowd at a sleeping model brings many at once", {}, Load(last_active_at=NOW, waiting=20), 0, 7),
        ("never above the maximum", {}, Load(last_active_at=NOW, in_flight=50, waiting=50, ready=2), 2, 8),
        ("the target counts, not the slots", {"target": 2}, Load(last_active_at=NOW, in_flight=6, ready=4), 4, 6),
        ("what comes by chance has places", {}, Load(last_active_at=NOW, in_flight=9, ready=3), 3, 4),
        ("warm ones come on top", {"warm": 2}, Load(last_active_at=NOW, in_flight=1, ready=3), 1, 3),
        ("warm ones stay when nobody calls", {"warm": 2}, Load(last_active_at=ago(900), ready=3), 3, 2),
        ("warm is no more than the maximum", {"warm": 2, "maximum": 2}, Load(last_active_at=NOW, in_flight=5), 1, 2),
        ("the minimum is no less than warm asks", {"warm": 1, "minimum": 4}, Load(last_active_at=ago(900)), 4, 4),
        (
            "caches that are full for a moment are nothing",
            {},
            Load(last_active_at=NOW, in_flight=2, ready=2, kv_used=(0.95, 0.9)),
            2,
            2,
        ),
        (
            "who waits in vain gets one more",
            {"target": 16},
            Load(last_active_at=NOW, in_flight=4, waiting=1, queue_seconds=QUEUE_PATIENCE, ready=1),
            1,
            2,
        ),
        (
            "nobody waits in vain while one is on its way",
            {"target": 16},
            Load(last_active_at=NOW, in_flight=4, waiting=1, queue_seconds=QUEUE_PATIENCE, ready=1),
            2,
            2,
        ),
    ],
)
def test_the_number_follows_the_load(
    what: str, changes: dict[str, object], load: Load, current: int, expected: int
) -> None:
    policy = dataclasses.replace(POLICY, **changes)  # type: ignore[arg-type]

    assert asked(load, current=current, policy=policy).count == expected, what


def test_twice_the_load_of_what_is_ready_is_answered_at_once_and_keeps_all_for_a_while() -> None:
    calm = Memory(window=minute_of(4))
    crowd = Load(in_flight=4, waiting=20, ready=1, last_active_at=NOW)
    few = Load(in_flight=1, ready=8, last_active_at=NOW)

    panic = asked(crowd, current=1, memory=calm)
    still = decide(POLICY, few, current=8, memory=panic.memory, is_off=False, now=NOW + PANIC_LASTS / 2)
    calm_again = dataclasses.replace(panic.memory, window=minute_of(1, until=NOW + PANIC_LASTS))
    over = decide(POLICY, few, current=8, memory=calm_again, is_off=False, now=NOW + PANIC_LASTS)

    assert (panic.count, panic.signals["is_panic"], "over twice" in panic.why) == (8, True, True)
    assert (still.count, still.signals["is_panic"]) == (8, True)
    assert (over.count, over.signals["is_panic"]) == (1, False)


def test_full_caches_count_as_load() -> None:
    load = Load(last_active_at=NOW, in_flight=2, ready=2, kv_used=(0.95, 0.9))
    memory = Memory(window=minute_of(2))
    for second in range(-6, 0, 2):
        memory = decide(POLICY, load, current=2, memory=memory, is_off=False, now=ago(-second)).memory

    wanted = asked(load, current=2, memory=memory)

    assert wanted.count == 3
    assert "A KV cache is 95% full" in wanted.why


def test_a_load_that_rises_slowly_is_no_panic() -> None:
    wanted = asked(Load(in_flight=7, ready=1, last_active_at=NOW), current=1)

    assert (wanted.count, wanted.signals["is_panic"]) == (3, False)


def test_fewer_are_wanted_only_when_a_minute_asked_for_fewer() -> None:
    calm_again = Load(in_flight=1, ready=5, last_active_at=NOW)
    busy_before = Memory(window=minute_of(12))

    first = asked(calm_again, current=5, memory=busy_before)
    later = asked(calm_again, current=5, memory=Memory(window=minute_of(1)))

    assert (first.count, later.count) == (5, 1)


def test_a_minute_that_was_not_looked_at_gives_nothing_up() -> None:
    wanted = asked(Load(in_flight=1, ready=4, last_active_at=NOW), current=4, memory=Memory())

    assert wanted.count == 4
    assert "Keeps 4" in wanted.why


def test_the_delay_comes_on_top() -> None:
    policy = dataclasses.replace(POLICY, down_delay_seconds=120)
    calm = Load(in_flight=1, ready=4, last_active_at=NOW)
    before = Memory(window=minute_of(1))

    first = asked(calm, current=4, policy=policy, memory=before)
    early = asked(calm, current=4, policy=policy, memory=dataclasses.replace(before, surplus_since=ago(119)))
    due = asked(calm, current=4, policy=policy, memory=dataclasses.replace(before, surplus_since=ago(120)))

    assert (first.count, first.memory.surplus_since) == (4, NOW)
    assert (early.count, early.memory.surplus_since) == (4, ago(119))
    assert (due.count, due.memory.surplus_since) == (1, None)


def test_a_lower_maximum_holds_at_once() -> None:
    policy = dataclasses.replace(POLICY, maximum=2)

    wanted = asked(Load(in_flight=1, ready=4, last_active_at=NOW), current=4, policy=policy, memory=Memory())

    assert wanted.count == 2


def test_paused_wants_none() -> None:
    policy = dataclasses.replace(POLICY, minimum=2)
    load = Load(in_flight=9, is_wake_requested=True, last_active_at=NOW)

    assert asked(load, current=2, policy=policy, is_off=True).count == 0


def test_a_clock_that_was_put_back_neither_panics_for_ever_nor_forgets_the_minimum() -> None:
    ahead = Memory(
        window=minute_of(30, until=NOW + dt.timedelta(hours=2)),
        panic_until=NOW + dt.timedelta(hours=2),
        surplus_since=NOW + dt.timedelta(hours=2),
    )

    wanted = asked(Load(in_flight=1, ready=1, last_active_at=NOW), current=1, memory=ahead)

    assert (wanted.count, wanted.signals["is_panic"]) == (1, False)


@pytest.mark.parametrize(
    ("changes", "load", "words"),
    [
        ({}, Load(in_flight=3, waiting=2, ready=2, last_active_at=NOW), "3 in flight and 2 waiting at 4 a replica"),
        ({}, Load(last_active_at=ago(700), ready=1), "No request for 600 s."),
        ({"maximum": 1}, Load(in_flight=30, ready=8, last_active_at=NOW), "The maximum is 1."),
        (
            {"minimum": 3, "schedule": "The schedule keeps 3."},
            Load(last_active_at=NOW, in_flight=1),
            "schedule keeps 3",
        ),
        ({"warm": 1}, Load(last_active_at=NOW, in_flight=1, ready=1), "1 warm beyond that."),
        ({}, Load(last_active_at=NOW, in_flight=1, ready=1, kv_used=(0.97,)), "A KV cache is 97% full"),
    ],
)
def test_every_decision_says_why(changes: dict[str, object], load: Load, words: str) -> None:
    wanted = asked(load, current=1, policy=dataclasses.replace(POLICY, **changes))  # type: ignore[arg-type]

    assert words in wanted.why


def test_the_window_is_a_minute_and_survives_its_column() -> None:
    window = minute_of(4).seeing(9, now=NOW).seeing(2, now=NOW + dt.timedelta(milliseconds=300))

    again = LoadWindow.of_json(window.to_json())

    assert again == window
    assert len(window.samples) <= STABLE.total_seconds() / 2
    assert window.samples[-1][1] == 9
    assert LoadWindow.of_json({}) == LoadWindow() == LoadWindow.of_json("broken")


def test_one_caller_alone_needs_one_place() -> None:
    assert [with_chance(load) for load in (0, 0.5, 1)] == [0, 0.5, 1]
    assert 100 < with_chance(100) < 120
    assert 0 < KV_FULL < 1
