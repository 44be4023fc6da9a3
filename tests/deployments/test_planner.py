"""The planner, as tables: what is there, what is wanted, which steps are missing."""

import dataclasses
import datetime as dt

import pytest

from moorage.deployments.actions import Action, Create, Drain, Drive, Fail, Stop
from moorage.deployments.models import ReplicaStatus as R
from moorage.deployments.planner import DRAIN, ContainerState, DesiredModel, ObservedReplica, plan
from moorage.deployments.reasons import Reason
from moorage.deployments.setbacks import Failures, retry_at

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
LONG_AGO = NOW - dt.timedelta(hours=1)


def replica(
    name: str,
    status: R = R.READY,
    *,
    revision: str = "new",
    model: str = "llm",
    since: dt.datetime = LONG_AGO,
    container: ContainerState = "running",
    in_flight: int = 0,
    is_refused_room: bool = False,
    is_room_held: bool = False,
    is_driven: bool = False,
    is_oom_killed: bool = False,
) -> ObservedReplica:
    return ObservedReplica(
        id=name,
        model_key=model,
        revision_id=revision,
        status=status,
        status_changed_at=since,
        created_at=since,
        container=container,
        in_flight=in_flight,
        is_refused_room=is_refused_room,
        is_room_held=is_room_held,
        is_driven=is_driven,
        is_oom_killed=is_oom_killed,
    )


def steps(
    wanted: int, *replicas: ObservedReplica, failures: Failures | None = None, is_off: Reason | None = None
) -> tuple[Action, ...]:
    models = [DesiredModel(key="llm", revision_id="new", wanted=wanted)]
    return plan(models, replicas, {"llm": failures} if failures else {}, is_off=is_off, now=NOW)


def test_what_is_missing_is_created() -> None:
    assert steps(2, replica("a")) == (Create("llm", "new"),)


def test_what_is_as_wanted_is_left_alone() -> None:
    assert steps(1, replica("a")) == ()
    assert steps(0) == ()


@pytest.mark.parametrize("status", [R.PENDING, R.PLACED, R.PULLING, R.STARTING, R.STOPPING])
def test_a_replica_on_its_way_is_driven_by_one_driver(status: R) -> None:
    wanted = 0 if status == R.STOPPING else 1

    assert steps(wanted, replica("a", status)) == (Drive("a"),)
    assert steps(wanted, replica("a", status, is_driven=True)) == ()


def test_a_surplus_replica_is_drained_and_one_that_is_not_ready_goes_first() -> None:
    assert steps(1, replica("a"), replica("b", R.STARTING, is_driven=True)) == (Stop("b", Reason.SURPLUS),)
    assert steps(1, replica("a"), replica("b", since=NOW)) == (Drain("b", Reason.SURPLUS),)


def test_idle_to_zero_drains_the_last_one() -> None:
    assert steps(0, replica("a")) == (Drain("a", Reason.IDLE),)


def test_a_draining_replica_stops_when_its_requests_are_done_or_its_time_is_up() -> None:
    heard = NOW - dt.timedelta(seconds=2)

    assert steps(0, replica("a", R.DRAINING, since=NOW)) == ()
    assert steps(0, replica("a", R.DRAINING, since=heard, in_flight=1)) == ()
    assert steps(0, replica("a", R.DRAINING, since=heard)) == (Stop("a", Reason.DRAINED),)
    assert steps(0, replica("a", R.DRAINING, since=NOW - DRAIN, in_flight=1)) == (Stop("a", Reason.DRAINED),)


def test_a_ready_replica_whose_container_ended_has_failed_and_is_replaced() -> None:
    assert steps(1, replica("a", container="exited")) == (
        Fail("a", Reason.ENGINE_EXITED, ""),
        Create("llm", "new"),
    )
    assert steps(1, replica("a", container="absent"))[0] == Fail("a", Reason.CONTAINER_GONE, "")
    assert steps(1, replica("a", container="exited", is_oom_killed=True))[0] == Fail("a", Reason.OUT_OF_MEMORY, "")


def test_a_runtime_that_cannot_be_asked_changes_nothing() -> None:
    assert steps(1, replica("a", container="unknown")) == ()


def test_a_failed_replica_is_removed() -> None:
    assert Stop("a", Reason.ENGINE_EXITED) in steps(1, replica("a", R.FAILED))


def test_an_old_revision_serves_until_the_new_one_is_ready() -> None:
    old = replica("old", revision="old")

    assert steps(1, old) == (Create("llm", "new"),)
    assert steps(1, old, replica("new", R.STARTING, is_driven=True)) == ()
    assert steps(1, old, replica("new")) == (Drain("old", Reason.NEW_REVISION),)


def test_an_old_replica_that_serves_nobody_goes_at_once() -> None:
    old = replica("old", R.PULLING, revision="old", is_driven=True)

    assert steps(1, old, replica("new", R.PENDING, is_driven=True)) == (Stop("old", Reason.NEW_REVISION),)


def test_without_room_for_both_one_old_replica_makes_way() -> None:
    old = replica("old", revision="old")
    refused = replica("new", R.PENDING, is_refused_room=True, is_room_held=True, is_driven=True)

    assert steps(1, old, refused) == (Drain("old", Reason.MAKES_WAY),)


def test_an_old_replica_makes_no_way_for_one_that_would_find_no_room_either_way() -> None:
    old = replica("old", revision="old")
    refused = replica("new", R.PENDING, is_refused_room=True, is_driven=True)

    assert steps(1, old, refused) == ()


def test_a_model_that_is_not_wanted_any_more_is_retired() -> None:
    assert steps(1, replica("a"), replica("b", model="gone")) == (Drain("b", Reason.NEW_REVISION),)


def test_paused_or_deleted_retires_everything() -> None:
    off = steps(0, replica("a"), replica("b", R.PULLING), is_off=Reason.PAUSED)

    assert set(off) == {Drain("a", Reason.PAUSED), Stop("b", Reason.PAUSED)}


@pytest.mark.parametrize(("count", "seconds"), [(1, 1), (2, 2), (5, 16), (12, 300)])
def test_a_failing_model_is_tried_again_later_and_later(count: int, seconds: int) -> None:
    failures = Failures(count=count, last_at=NOW)

    assert retry_at(failures) == NOW + dt.timedelta(seconds=seconds)
    assert steps(1, failures=failures) == ()
    waited = Failures(count=count, last_at=NOW - dt.timedelta(seconds=seconds))
    assert steps(1, failures=waited) == (Create("llm", "new"),)


def test_one_that_dies_while_it_serves_is_replaced_at_once() -> None:
    dead = replica("a", R.READY, container="exited")

    assert Create("llm", "new") in steps(1, dead)


def test_one_that_dies_soon_after_another_waits_its_turn() -> None:
    dead = replica("b", R.READY, container="exited", since=NOW - dt.timedelta(seconds=1))
    known = Failures(count=1, last_at=NOW - dt.timedelta(seconds=10))

    assert Create("llm", "new") not in steps(1, dead, failures=known)


def test_one_that_has_served_for_a_while_is_replaced_at_once_whatever_was_before() -> None:
    dead = replica("c", R.READY, container="exited", since=NOW - dt.timedelta(hours=1))
    known = Failures(count=3, last_at=LONG_AGO)

    assert Create("llm", "new") in steps(1, dead, failures=known)


def test_a_permanent_failure_is_not_tried_again() -> None:
    assert steps(1, failures=Failures(count=1, last_at=LONG_AGO, is_permanent=True)) == ()


def test_a_replica_on_a_drained_node_serves_until_another_one_is_ready_elsewhere() -> None:
    there = dataclasses.replace(replica("there"), node_is_draining=True)
    coming, ready = replica("elsewhere", R.STARTING), replica("elsewhere")

    assert set(steps(1, there)) == {Create("llm", "new")}
    assert set(steps(1, there, coming)) == {Drive("elsewhere")}
    assert set(steps(1, there, ready)) == {Drain("there", Reason.NODE_DRAINED)}


@pytest.mark.parametrize("status", [R.FROZEN, R.STOPPED])
def test_a_replica_that_sleeps_on_a_drained_node_leaves(status: R) -> None:
    asleep = dataclasses.replace(replica("there", status), node_is_draining=True)

    assert set(steps(0, asleep)) == {Stop("there", Reason.NODE_DRAINED)}
