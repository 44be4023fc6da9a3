"""A call of the Engine that lasts longer than a lease: two at the same work double nothing, and nothing is lost."""

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import override_settings

from moorage.deployments import leases, life, reconcile, routes, states, waker
from moorage.deployments.lease_keeper import EVERY_SECONDS, MOST_SECONDS, Hold, Keeper
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Scale
from moorage.deployments.reasons import Reason
from moorage.fleet.models import Reservation
from moorage.kernel import clock
from tests.cast import Cast
from tests.deployments.conftest import Harbour, apply
from tests.deployments.slow_engine import SlowEngine, meanwhile
from tests.deployments.stubbed_runtime import StubbedRuntime
from tests.deployments.test_waking import COMPOSE, ask, let_time_pass, ready, replica, sleeping
from tests.waiting import wait_until, waiting_for_a_lock

D, R = DeploymentStatus, ReplicaStatus


@pytest.fixture
def stubbed(short_tmp: Path) -> Iterator[StubbedRuntime]:
    with (
        override_settings(
            MOORAGE_SOCKET_DIR=short_tmp / "s", MOORAGE_STORE=short_tmp / "store", MOORAGE_INSTANCE="test"
        ),
        StubbedRuntime(instance="test") as runtime,
    ):
        yield runtime


@pytest.fixture
def stub_harbour(stubbed: StubbedRuntime, short_tmp: Path) -> Harbour:
    return Harbour(runtime=stubbed, home=short_tmp)


def asleep_keeper() -> Keeper:
    """As in a process that stands still: nothing is renewed."""
    return Keeper(every_seconds=3600)


def run_out(model: leases.Row) -> None:
    """So much time passes that the leases have ended."""
    model.objects.exclude(lease_until=None).update(lease_until=clock.now() - dt.timedelta(seconds=1))


def left(row: Deployment | Replica) -> dt.timedelta:
    row.refresh_from_db()
    return (row.lease_until or clock.now()) - clock.now()


def codes(one: Replica) -> list[str]:
    return list(one.deployment.timeline.filter(replica=one).order_by("at", "id").values_list("code", flat=True))


def test_what_was_decided_on_an_old_look_is_not_done(committed_cast: Cast, stub_harbour: Harbour, stubbed: Any) -> None:
    deployment = apply(committed_cast, COMPOSE)
    Scale.objects.update_or_create(deployment=deployment, model_key="llm", defaults={"wanted": 2})
    stub_harbour.until(deployment, lambda _: Replica.objects.filter(status=R.READY).count() == 2)
    older, newer = Replica.objects.order_by("created_at", "pk")
    Scale.objects.update(wanted=1)
    slow = SlowEngine(stubbed, "inspect")

    with meanwhile(slow, lambda: reconcile.reconcile(deployment.pk, runtime=slow, keeper=asleep_keeper())):  # type: ignore[arg-type]
        # The slow one has seen both run, and would let the newer one go. Then the older one ends.
        stubbed.crash(older.container_name)
        run_out(Deployment)
        reconcile.reconcile(deployment.pk, runtime=stubbed)

    newer.refresh_from_db()
    assert newer.status == R.READY
    assert "replica_draining" not in codes(newer)
    assert codes(older).count("replica_failed") == 1


def test_what_ended_is_replaced_once_by_two_at_a_time(
    committed_cast: Cast, stub_harbour: Harbour, stubbed: Any
) -> None:
    deployment = ready(committed_cast, stub_harbour)
    ended = replica()
    stubbed.crash(ended.container_name)
    slow = SlowEngine(stubbed, "inspect")

    with meanwhile(slow, lambda: reconcile.reconcile(deployment.pk, runtime=slow, keeper=asleep_keeper())):  # type: ignore[arg-type]
        run_out(Deployment)
        stub_harbour.step(deployment)

    assert Replica.objects.exclude(pk=ended.pk).count() == 1
    assert codes(ended).count("replica_failed") == 1
    stub_harbour.until(deployment, lambda _: Replica.objects.filter(status=R.GONE, pk=ended.pk).exists())
    assert Reservation.objects.count() == 1
    assert len(stubbed.list()) == 1


def test_a_lease_that_is_being_taken_counts_as_lost(
    committed_cast: Cast, stub_harbour: Harbour, stubbed: Any, database_url: str
) -> None:
    deployment = ready(committed_cast, stub_harbour)
    stubbed.crash(replica().container_name)
    slow = SlowEngine(stubbed, "inspect")

    with (
        psycopg.connect(database_url) as other,
        meanwhile(slow, lambda: reconcile.reconcile(deployment.pk, runtime=slow, keeper=asleep_keeper())),  # type: ignore[arg-type]
    ):
        other.execute(
            "UPDATE deployment SET epoch = epoch + 1, lease_until = now() + interval '30 s' WHERE id = %s",
            [deployment.pk],
        )
        slow.goes_on.set()
        wait_until(lambda: waiting_for_a_lock() or Replica.objects.count() > 1)
        other.commit()

    assert codes(replica()) == codes(Replica.objects.get())
    assert replica().status == R.READY


def test_what_is_paused_too_late_runs_again(committed_cast: Cast, stub_harbour: Harbour, stubbed: Any) -> None:
    deployment = ready(committed_cast, stub_harbour)
    let_time_pass()
    slow = SlowEngine(stubbed, "pause", is_late=True)

    def put_to_sleep() -> None:
        while not slow.called.is_set():
            for replica_id in reconcile.reconcile(deployment.pk, runtime=stubbed):
                life.drive(replica_id, runtime=slow, keeper=asleep_keeper())  # type: ignore[arg-type]

    with meanwhile(slow, put_to_sleep):
        run_out(Replica)
        ask(deployment)
        waker.answer(deployment.pk, runtime=stubbed)
        assert replica().status == R.READY
    assert stubbed.inspect(replica().container_name).status == "paused"

    stub_harbour.step(deployment)

    assert stubbed.inspect(replica().container_name).status == "running"
    assert replica().status == R.READY
    assert codes(replica()).count("replica_failed") == 0


def test_a_replicas_lease_is_renewed_while_the_engine_takes_its_time(
    committed_cast: Cast, stub_harbour: Harbour, stubbed: Any
) -> None:
    deployment = apply(committed_cast, COMPOSE)
    (replica_id,) = reconcile.reconcile(deployment.pk, runtime=stubbed)
    slow = SlowEngine(stubbed, "ensure", is_late=True)
    keeper = Keeper(every_seconds=0.05)

    with meanwhile(slow, lambda: life.drive(replica_id, runtime=slow, keeper=keeper)):  # type: ignore[arg-type]
        Replica.objects.update(lease_until=clock.now() + dt.timedelta(seconds=2))
        wait_until(lambda: left(replica()) > dt.timedelta(seconds=20))
        by_another = life.drive(replica_id, runtime=stubbed)

    assert by_another is None
    assert replica().status == R.READY
    assert replica().lease_until is None
    assert len(stubbed.engines) == 1


def test_a_deployments_lease_is_renewed_while_the_engine_takes_its_time(
    committed_cast: Cast, stub_harbour: Harbour, stubbed: Any
) -> None:
    deployment = ready(committed_cast, stub_harbour)
    slow = SlowEngine(stubbed, "inspect")
    keeper = Keeper(every_seconds=0.05)

    with meanwhile(slow, lambda: reconcile.reconcile(deployment.pk, runtime=slow, keeper=keeper)):  # type: ignore[arg-type]
        Deployment.objects.update(lease_until=clock.now() + dt.timedelta(seconds=2))
        wait_until(lambda: left(deployment) > dt.timedelta(seconds=20))
        assert leases.claim(Deployment, deployment.pk) is None

    deployment.refresh_from_db()
    assert deployment.lease_until is None
    assert deployment.status == D.READY


def test_who_hangs_is_not_kept_for_ever() -> None:
    hold = Hold(model=Replica, pk="rep_x", epoch=1, renewed_at=0.0, shown_at=0.0)
    keeper = Keeper()

    assert not keeper.is_due(hold, now=EVERY_SECONDS - 1)
    assert keeper.is_due(hold, now=EVERY_SECONDS)
    assert not keeper.is_due(hold, now=MOST_SECONDS)


def test_a_lease_that_was_given_back_is_not_renewed(committed_cast: Cast) -> None:
    deployment = apply(committed_cast, COMPOSE)
    epoch = leases.claim(Deployment, deployment.pk)
    assert epoch is not None
    leases.give_back(Deployment, deployment.pk, epoch)

    is_renewed = leases.renew(Deployment, deployment.pk, epoch)

    assert not is_renewed
    assert leases.claim(Deployment, deployment.pk) == epoch + 1


def test_who_becomes_ready_waits_for_the_deployment_before_it_locks_the_replica(
    committed_cast: Cast, stub_harbour: Harbour, database_url: str
) -> None:
    """A step of a look locks them in that order; the other order would be a deadlock."""
    sleeping(committed_cast, stub_harbour, R.FROZEN)
    asleep = Replica.objects.select_related("revision", "deployment__target").get(pk=replica().pk)
    change = routes.change(asleep)
    assert change is not None
    done: list[tuple[bool, bool]] = []

    def serve() -> None:
        done.append(states.bring_to_service(asleep, reason=Reason.AWAKE, detail="", epoch=asleep.epoch, route=change))
        connection.close()

    thread = threading.Thread(target=serve)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT 1 FROM deployment FOR NO KEY UPDATE")
        thread.start()
        wait_until(waiting_for_a_lock)

        other.execute("SELECT 1 FROM replica FOR NO KEY UPDATE NOWAIT")

        other.commit()
    thread.join(30)
    assert done == [(True, True)]
