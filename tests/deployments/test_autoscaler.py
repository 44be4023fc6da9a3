"""The autoscaler, as a table."""

import datetime as dt

import pytest

from moorage.deployments.autoscaler import SETTLE, Load, Policy, decide

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)


def seconds_ago(seconds: float) -> dt.datetime:
    return NOW - dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("what", "policy", "load", "current", "expected"),
    [
        ("a fresh deployment keeps its one", (0, 1, 600), (0, 0, False, 5), 1, 1),
        ("idle goes to the minimum", (0, 1, 600), (0, 0, False, 600), 1, 0),
        ("idle with a warm floor keeps it", (1, 3, 600), (0, 0, False, 900), 1, 1),
        ("never idles", (0, 1, None), (0, 0, False, 90_000), 1, 1),
        ("stays at zero", (0, 1, 600), (0, 0, False, 900), 0, 0),
        ("a wake brings one", (0, 1, 600), (0, 0, True, 900), 0, 1),
        ("a waiting request brings one", (0, 2, 600), (0, 1, False, 0), 0, 1),
        ("nine requests at four a replica want three", (0, 4, 600), (5, 4, False, 0), 1, 3),
        ("never above the maximum", (0, 2, 600), (50, 50, False, 0), 1, 2),
    ],
)
def test_the_number_follows_the_load(
    what: str,
    policy: tuple[int, int, int | None],
    load: tuple[int, int, bool, float],
    current: int,
    expected: int,
) -> None:
    minimum, maximum, idle = policy
    in_flight, waiting, is_wake, active = load

    wanted = decide(
        Policy(minimum=minimum, maximum=maximum, idle_seconds=idle, slots=4),
        Load(in_flight=in_flight, waiting=waiting, is_wake_requested=is_wake, last_active_at=seconds_ago(active)),
        current=current,
        surplus_since=None,
        is_off=False,
        now=NOW,
    )

    assert wanted.count == expected, what


def test_fewer_are_wanted_only_after_a_while() -> None:
    policy = Policy(minimum=0, maximum=4, idle_seconds=600, slots=4)
    load = Load(in_flight=1, last_active_at=NOW)

    first = decide(policy, load, current=3, surplus_since=None, is_off=False, now=NOW)
    later = decide(policy, load, current=3, surplus_since=NOW - SETTLE, is_off=False, now=NOW)

    assert (first.count, first.surplus_since) == (3, NOW)
    assert (later.count, later.surplus_since) == (1, None)


def test_paused_wants_none() -> None:
    policy = Policy(minimum=2, maximum=4, idle_seconds=600, slots=4)
    load = Load(in_flight=9, is_wake_requested=True, last_active_at=NOW)

    assert decide(policy, load, current=2, surplus_since=None, is_off=True, now=NOW).count == 0
