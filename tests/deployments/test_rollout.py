"""How one revision makes way for another, as tables: what is there, by which strategy, which steps are missing."""

import dataclasses
import datetime as dt

import pytest

from moorage.compose.spec import Strategy
from moorage.deployments.actions import Action, Create, Drain, Drive, Stop
from moorage.deployments.models import ReplicaStatus as R
from moorage.deployments.planner import DRAIN, PATIENT_DRAIN, Beside, DesiredModel, ObservedReplica, plan
from moorage.deployments.reasons import Reason
from moorage.deployments.rollout import canary_count
from moorage.deployments.setbacks import Failures

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
LONG_AGO = NOW - dt.timedelta(hours=2)


def replica(
    name: str, status: R = R.READY, *, age: int = 0, since: dt.datetime = LONG_AGO, **more: bool | int
) -> ObservedReplica:
    """Of the revision that its name begins with."""
    revision = next(one for one in ("new", "older", "old") if name.startswith(one))
    return ObservedReplica(
        id=name,
        model_key="llm",
        revision_id=revision,
        status=status,
        status_changed_at=since,
        created_at=LONG_AGO + dt.timedelta(seconds=age),
        container="running",
        is_driven=True,
        **more,  # type: ignore[arg-type]
    )


def waits_for_room(name: str) -> ObservedReplica:
    return replica(name, R.PENDING, is_refused_room=True, is_room_held=True)


def steps(
    strategy: Strategy,
    wanted: int,
    *replicas: ObservedReplica,
    is_off: Reason | None = None,
    failures: Failures | None = None,
) -> set[Action]:
    models = [DesiredModel(key="llm", revision_id="new", wanted=wanted, strategy=strategy)]
    return set(plan(models, replicas, {"llm": failures} if failures else {}, is_off=is_off, now=NOW))


def trial_steps(wanted: int, *replicas: ObservedReplica, is_off: Reason | None = None) -> set[Action]:
    models = [
        DesiredModel(
            key="llm",
            revision_id="new",
            wanted=canary_count(wanted, 10),
            beside=Beside(revision_id="old", wanted=wanted),
        )
    ]
    return set(plan(models, replicas, {}, is_off=is_off, now=NOW))


CREATE = Create("llm", "new")


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ([replica("old"), replica("old-b", age=1)], {CREATE}),
        ([replica("old"), replica("old-b", age=1), replica("new", R.STARTING), replica("new-b", R.STARTING)], set()),
        # Each that is ready lets one go: there are never fewer than wanted.
        (
            [replica("old"), replica("old-b", age=1), replica("new"), replica("new-b", R.STARTING)],
            {Drain("old", Reason.NEW_REVISION)},
        ),
        (
            [
                replica("old", R.DRAINING, since=NOW, in_flight=1),
                replica("old-b"),
                replica("new"),
                replica("new-b", R.STARTING),
            ],
            set(),
        ),
        ([replica("old-b"), replica("new"), replica("new-b")], {Drain("old-b", Reason.NEW_REVISION)}),
        # No room beside: one makes way, not a second one before the first is gone.
        (
            [replica("old"), replica("old-b", age=1), waits_for_room("new"), replica("new-b", R.STARTING)],
            {Drain("old", Reason.MAKES_WAY)},
        ),
        (
            [replica("old", R.STOPPING), replica("old-b"), waits_for_room("new"), replica("new-b", R.STARTING)],
            set(),
        ),
        ([replica("old", R.PULLING), replica("new", R.PULLING), replica("new-b", R.PULLING)], {
            Stop("old", Reason.NEW_REVISION)
        }),
    ],
)  # fmt: skip
def test_surge(there: list[ObservedReplica], missing: set[Action]) -> None:
    assert steps("surge", 2, *there) == missing


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        # The new one is made at once, so that its weights come; the old one serves meanwhile.
        ([replica("old")], {CREATE}),
        ([replica("old"), replica("new", R.PENDING)], set()),
        ([replica("old"), waits_for_room("new")], {Drain("old", Reason.MAKES_WAY)}),
        ([replica("old", R.DRAINING, since=NOW, in_flight=1), waits_for_room("new")], set()),
        ([waits_for_room("new")], set()),
        ([replica("old", R.FROZEN), replica("new", R.PENDING)], {Stop("old", Reason.NEW_REVISION)}),
    ],
)
def test_hold(there: list[ObservedReplica], missing: set[Action]) -> None:
    assert steps("hold", 1, *there) == missing


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ([replica("old")], {Drain("old", Reason.MAKES_WAY)}),
        ([replica("old", R.DRAINING, since=NOW, in_flight=1)], set()),
        ([replica("old", R.STOPPING)], set()),
        ([], {CREATE}),
    ],
)
def test_recreate(there: list[ObservedReplica], missing: set[Action]) -> None:
    assert steps("recreate", 1, *there) == missing


@pytest.mark.parametrize(("wanted", "weight", "count"), [(0, 10, 0), (1, 10, 1), (10, 10, 1), (11, 10, 2), (4, 50, 2)])
def test_a_canary_has_its_share_of_the_replicas(wanted: int, weight: int, count: int) -> None:
    assert canary_count(wanted, weight) == count


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ([replica("old")], {CREATE}),
        ([replica("old"), replica("new")], set()),
        # The one before keeps all its replicas, and gets back the one that ended.
        ([replica("new")], {Create("llm", "old")}),
        # A revision that was on trial before this one goes.
        ([replica("old"), replica("older"), replica("new", R.PENDING)], {Drain("older", Reason.NEW_REVISION)}),
        # No room beside: what serves stays.
        ([replica("old"), waits_for_room("new")], set()),
    ],
)
def test_trial(there: list[ObservedReplica], missing: set[Action]) -> None:
    assert trial_steps(1, *there) == missing


def test_a_trial_sleeps_as_a_whole() -> None:
    assert trial_steps(0, replica("old"), replica("new")) == {Drain("old", Reason.IDLE), Drain("new", Reason.IDLE)}


def test_a_file_sent_in_the_middle_of_an_update_takes_over_from_both() -> None:
    there = [replica("older"), replica("old", R.PULLING)]

    assert steps("surge", 1, *there) == {CREATE, Stop("old", Reason.NEW_REVISION)}
    assert steps("surge", 1, *there, replica("new")) == {
        Drain("older", Reason.NEW_REVISION),
        Stop("old", Reason.NEW_REVISION),
    }


@pytest.mark.parametrize("off", [Reason.DELETED, Reason.PAUSED])
def test_a_deletion_or_pause_in_the_middle_retires_both_revisions(off: Reason) -> None:
    both = {Drain("old", off), Drain("new", off)}

    assert trial_steps(1, replica("old"), replica("new"), is_off=off) == both
    assert steps("hold", 1, replica("old"), waits_for_room("new"), is_off=off) == {
        Drain("old", off),
        Stop("new", off),
    }
    # Paused while the place changed hands: the drained one ends, the waiting one goes.
    assert steps("hold", 1, replica("old", R.DRAINING), waits_for_room("new"), is_off=off) == {
        Stop("old", Reason.DRAINED),
        Stop("new", off),
    }


def test_a_hold_that_is_resumed_starts_from_nothing() -> None:
    assert steps("hold", 1) == {CREATE}


def test_streams_end_by_themselves_where_nobody_waits_for_the_place() -> None:
    since = NOW - DRAIN
    patient = replica("old", R.DRAINING, since=since, in_flight=1, is_patient=True)
    hurried = replica("old", R.DRAINING, since=since, in_flight=1)
    endless = replica("old", R.DRAINING, since=NOW - PATIENT_DRAIN, in_flight=1, is_patient=True)

    assert steps("surge", 1, replica("new"), patient) == set()
    assert steps("surge", 1, replica("new"), hurried) == {Stop("old", Reason.DRAINED)}
    assert steps("surge", 1, replica("new"), endless) == {Stop("old", Reason.DRAINED)}
    assert steps("surge", 1, patient, is_off=Reason.DELETED) == {Stop("old", Reason.DRAINED)}


def test_a_waiting_replica_is_driven_on() -> None:
    idle = dataclasses.replace(waits_for_room("new"), is_driven=False)

    assert steps("hold", 1, idle) == {Drive("new")}


@pytest.mark.parametrize("strategy", ["surge", "hold", "recreate"])
def test_what_only_has_to_leave_its_node_serves_until_another_is_ready_elsewhere(strategy: Strategy) -> None:
    leaves = replica("new 1", node_is_draining=True)

    alone = steps(strategy, 1, leaves)
    coming = steps(strategy, 1, leaves, replica("new 2", R.STARTING))
    there = steps(strategy, 1, leaves, replica("new 2"))

    assert alone == {Create("llm", "new")}
    assert coming == set()
    assert there == {Drain("new 1", Reason.NODE_DRAINED)}


def test_an_older_revision_on_a_drained_node_goes_as_its_update_says() -> None:
    assert steps("recreate", 1, replica("old 1", node_is_draining=True)) == {Drain("old 1", Reason.MAKES_WAY)}
