"""Where a replica sleeps, as tables: how long it has slept, what is asked for, what was measured, who needs memory."""

import dataclasses
import datetime as dt

import pytest

from moorage.compose.spec import SleepSpec
from moorage.deployments.models import ReplicaStatus as R
from moorage.deployments.planner import ObservedReplica
from moorage.deployments.reasons import Reason
from moorage.deployments.tiers import (
    NEVER,
    Bed,
    End,
    Policy,
    Rest,
    Step,
    Wake,
    WakeTimes,
    coming,
    policy_of,
    steps,
)

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
MINUTE, HOUR = dt.timedelta(minutes=1), dt.timedelta(hours=1)
BOTH = Bed(policy=Policy(frozen=MINUTE, stopped=HOUR))
ONLY_STOPPED = Bed(policy=Policy(stopped=HOUR))
ONLY_FROZEN = Bed(policy=Policy(frozen=MINUTE))
NEITHER = Bed()
PRESSED = dataclasses.replace(BOTH, is_pressed=True)
DRAINED_FOR = dt.timedelta(seconds=2)


def replica(
    status: R, *, since: dt.timedelta = DRAINED_FOR, name: str = "a", in_flight: int = 0, is_waking: bool = False
) -> ObservedReplica:
    return ObservedReplica(
        id=name,
        model_key="llm",
        revision_id="new",
        status=status,
        status_changed_at=NOW - since,
        created_at=NOW - 2 * HOUR,
        in_flight=in_flight,
        is_drowsy=status == R.DRAINING,
        is_waking=is_waking,
    )


def night(one: ObservedReplica, bed: Bed) -> tuple[Step, ...]:
    return steps([one], missing=0, bed=bed, now=NOW)


def where(found: tuple[Step, ...]) -> str:
    (step,) = found or (None,)
    match step:
        case Rest(to=to):
            return to.value
        case End():
            return "absent"
        case Wake():
            return "awake"
    return "stays"


@pytest.mark.parametrize(
    ("status", "slept", "bed", "then"),
    [
        (R.DRAINING, dt.timedelta(seconds=0.5), BOTH, "stays"),
        (R.DRAINING, DRAINED_FOR, BOTH, "frozen"),
        (R.DRAINING, DRAINED_FOR, ONLY_STOPPED, "stopped"),
        (R.DRAINING, DRAINED_FOR, ONLY_FROZEN, "frozen"),
        (R.DRAINING, DRAINED_FOR, NEITHER, "absent"),
        (R.DRAINING, DRAINED_FOR, PRESSED, "stopped"),
        (R.FROZEN, MINUTE / 2, BOTH, "stays"),
        (R.FROZEN, MINUTE, BOTH, "stopped"),
        (R.FROZEN, MINUTE, ONLY_FROZEN, "absent"),
        (R.FROZEN, MINUTE / 2, PRESSED, "stopped"),
        (R.FROZEN, MINUTE / 2, dataclasses.replace(ONLY_FROZEN, is_pressed=True), "absent"),
        (R.STOPPED, HOUR / 2, BOTH, "stays"),
        (R.STOPPED, HOUR / 2, PRESSED, "stays"),
        (R.STOPPED, HOUR, BOTH, "absent"),
        (R.STOPPED, MINUTE, NEITHER, "absent"),
    ],
)
def test_it_goes_down_a_tier_when_its_time_there_is_over(status: R, slept: dt.timedelta, bed: Bed, then: str) -> None:
    assert where(night(replica(status, since=slept), bed)) == then


@pytest.mark.parametrize(
    ("status", "wakes", "then"),
    [
        (R.DRAINING, WakeTimes(frozen=0.01, stopped=0.2, absent=0.3), "frozen"),
        (R.DRAINING, WakeTimes(frozen=0.2, stopped=0.2, absent=0.3), "stopped"),
        (R.DRAINING, WakeTimes(frozen=0.3, stopped=0.3, absent=0.3), "absent"),
        (R.DRAINING, WakeTimes(stopped=0.3, absent=0.3), "frozen"),
        (R.FROZEN, WakeTimes(frozen=0.01, stopped=0.2, absent=0.3), "stopped"),
        (R.FROZEN, WakeTimes(frozen=0.01, stopped=0.29, absent=0.3), "absent"),
        (R.FROZEN, WakeTimes(frozen=0.01, stopped=0.2), "stopped"),
    ],
)
def test_a_tier_that_was_measured_to_wake_no_quicker_than_the_next_is_left_out(
    status: R, wakes: WakeTimes, then: str
) -> None:
    slept = replica(status, since=MINUTE)

    assert where(night(slept, dataclasses.replace(BOTH, wakes=wakes))) == then


def test_a_tier_that_is_left_out_says_so_with_its_figures() -> None:
    wakes = WakeTimes(frozen=0.2, stopped=0.2, absent=0.3)

    (step,) = night(replica(R.DRAINING), dataclasses.replace(BOTH, wakes=wakes))

    assert isinstance(step, Rest)
    assert step.detail == "Not frozen: it woke from there in 0.20 s, and from below in 0.20 s. For 60 min at most."


def test_memory_that_another_needs_is_the_reason_it_stops() -> None:
    (step,) = night(replica(R.FROZEN), PRESSED)

    assert isinstance(step, Rest)
    assert step.reason is Reason.MEMORY_NEEDED


def test_nobody_falls_asleep_with_a_request_in_it() -> None:
    assert night(replica(R.DRAINING, in_flight=1), BOTH) == ()


def test_a_request_that_reached_a_frozen_replica_wakes_it() -> None:
    assert night(replica(R.FROZEN, in_flight=1), BOTH) == (Wake("a"),)


def test_whoever_is_missed_wakes_from_the_quickest_tier_first() -> None:
    asleep = [
        replica(R.STOPPED, name="stopped"),
        replica(R.FROZEN, name="frozen long", since=HOUR),
        replica(R.FROZEN, name="frozen", since=MINUTE / 2),
        replica(R.DRAINING, name="drowsy"),
    ]

    assert steps(asleep, missing=1, bed=BOTH, now=NOW) == (Wake("drowsy"),)
    assert steps(asleep, missing=2, bed=BOTH, now=NOW) == (Wake("drowsy"), Wake("frozen"))
    assert coming(asleep, steps(asleep, missing=9, bed=BOTH, now=NOW)) == 4


def test_one_that_is_waking_already_is_not_woken_twice_and_counts() -> None:
    asleep = [replica(R.FROZEN, is_waking=True), replica(R.STOPPED, name="b")]

    found = steps(asleep, missing=1, bed=BOTH, now=NOW)

    assert found == ()
    assert coming(asleep, found) == 1


def test_one_that_is_waking_is_not_put_to_sleep() -> None:
    assert night(replica(R.FROZEN, since=HOUR, is_waking=True), BOTH) == ()


@pytest.mark.parametrize(
    ("asked", "wakes", "policy"),
    [
        (SleepSpec(), WakeTimes(), Policy(frozen=MINUTE, stopped=HOUR)),
        (SleepSpec(frozen_seconds=0), WakeTimes(), Policy(frozen=NEVER, stopped=HOUR)),
        (SleepSpec(frozen_seconds=30, stopped_seconds=0), WakeTimes(), Policy(frozen=MINUTE / 2, stopped=NEVER)),
        # Never longer than the operator allows.
        (SleepSpec(frozen_seconds=10**6, stopped_seconds=10**6), WakeTimes(), Policy(frozen=HOUR, stopped=24 * HOUR)),
        # A model that is slow to come back sleeps longer where it comes back quickly, if its owner says nothing.
        (SleepSpec(), WakeTimes(stopped=30, absent=600), Policy(frozen=10 * MINUTE, stopped=200 * MINUTE)),
        (SleepSpec(), WakeTimes(stopped=600, absent=600), Policy(frozen=HOUR, stopped=200 * MINUTE)),
        (SleepSpec(frozen_seconds=30), WakeTimes(stopped=30), Policy(frozen=MINUTE / 2, stopped=HOUR)),
    ],
)
def test_the_owner_decides_within_the_operators_bounds(asked: SleepSpec, wakes: WakeTimes, policy: Policy) -> None:
    most = Policy(frozen=HOUR, stopped=24 * HOUR)

    assert policy_of(asked, defaults=Policy(frozen=MINUTE, stopped=HOUR), most=most, wakes=wakes) == policy


def test_an_operator_who_wants_no_tier_by_default_gets_none_however_slow_a_model_is() -> None:
    policy = policy_of(SleepSpec(), defaults=Policy(), most=BOTH.policy, wakes=WakeTimes(absent=600))

    assert policy == Policy()
