"""Asleep and awake again, with a real engine: what a wake brings back, from where, and what becomes of the room."""

import datetime as dt
import os
import signal
from pathlib import Path

import msgspec
import psycopg
import pytest

from moorage.deployments import arrivals, life, orphans, reconcile, services, settling, waker
from moorage.deployments.models import (
    Awakening,
    Deployment,
    DeploymentStatus,
    Replica,
    ReplicaStatus,
    Route,
    RouteActivity,
    Scale,
    Wake,
)
from moorage.fleet.models import Node, Reservation
from moorage.kernel import clock
from moorage.wire.records import WAKE_REQUESTED
from tests.cast import Cast
from tests.deployments.conftest import Harbour, apply
from tests.waiting import wait_until

pytestmark = pytest.mark.engine

D, R = DeploymentStatus, ReplicaStatus
COMPOSE = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 256
    x-moorage:
      scale: {min: 0, max: 2, idle: 60, sleep: {frozen: 10m, stopped: 2h}}
"""
HOURS = dt.timedelta(hours=3)


def ready(cast: Cast, harbour: Harbour, text: str = COMPOSE) -> Deployment:
    deployment = apply(cast, text)
    harbour.until(deployment, lambda one: one.status == D.READY)
    return deployment


def let_time_pass() -> None:
    """Nobody has called for hours, and nothing has happened."""
    Scale.objects.update(active_at=clock.now() - HOURS)
    Replica.objects.update(ready_at=clock.now() - HOURS, status_changed_at=clock.now() - HOURS)
    RouteActivity.objects.update(last_request_at=clock.now() - HOURS)


def sleeping(cast: Cast, harbour: Harbour, tier: R, text: str = COMPOSE) -> Deployment:
    deployment = ready(cast, harbour, text)
    let_time_pass()
    harbour.until(deployment, lambda _: replica().status == R.FROZEN)
    if tier == R.STOPPED:
        let_time_pass()
        harbour.until(deployment, lambda _: replica().status == R.STOPPED and not Reservation.objects.exists())
    return deployment


def replica() -> Replica:
    return Replica.objects.exclude(status=R.GONE).get()


def container(harbour: Harbour, name: str) -> str | None:
    found = harbour.runtime.inspect(name)
    return found.status if found else None


def ask(deployment: Deployment) -> None:
    """A gateway has a request for it."""
    Wake.objects.create(
        route_id=f"{deployment.pk}:llm", deployment_id=deployment.pk, model_key="llm", requested_at=clock.now()
    )


def replicas_on_route() -> list[str]:
    return [one["id"] for one in Route.objects.get().document["replicas"]]


def test_who_is_not_called_is_frozen_with_its_room_then_stopped_without_then_gone(
    committed_cast: Cast, harbour: Harbour
) -> None:
    deployment = ready(committed_cast, harbour)
    name = replica().container_name

    let_time_pass()
    harbour.until(deployment, lambda _: replica().status == R.FROZEN)
    wait_until(lambda: container(harbour, name) == "paused")
    assert (deployment.status, Route.objects.get().document["status"]) == (D.IDLE, "idle")
    assert Reservation.objects.count() == 1

    let_time_pass()
    harbour.until(deployment, lambda _: replica().status == R.STOPPED and not Reservation.objects.exists())
    assert container(harbour, name) == "exited"
    assert Node.objects.get().used_memory_bytes == 0
    assert orphans.reap(runtime=harbour.runtime) == ()

    let_time_pass()
    harbour.until(deployment, lambda _: not Replica.objects.exclude(status=R.GONE).exists())
    assert harbour.runtime.list() == ()
    codes = list(deployment.timeline.order_by("at").values_list("code", flat=True))
    assert [code for code in codes if code in {"replica_frozen", "replica_stopped", "replica_gone"}] == [
        "replica_frozen",
        "replica_stopped",
        "replica_gone",
    ]


@pytest.mark.parametrize("tier", [R.FROZEN, R.STOPPED])
def test_a_request_brings_the_same_replica_back(tier: R, committed_cast: Cast, harbour: Harbour) -> None:
    deployment = sleeping(committed_cast, harbour, tier)
    asleep = replica()
    ask(deployment)

    waker.answer(deployment.pk, runtime=harbour.runtime)

    awake = replica()
    assert (awake.pk, awake.status, awake.wake_at) == (asleep.pk, R.READY, None)
    assert container(harbour, awake.container_name) == "running"
    assert replicas_on_route() == [asleep.pk]
    assert Reservation.objects.get().replica_id == asleep.pk
    assert not Wake.objects.exists()
    assert Awakening.objects.filter(tier=tier).count() == 1
    deployment.refresh_from_db()
    assert deployment.status == D.READY


def test_what_is_gone_is_made_anew_by_the_waker_alone(committed_cast: Cast, harbour: Harbour) -> None:
    text = COMPOSE.replace("frozen: 10m, stopped: 2h", "frozen: never, stopped: never")
    deployment = ready(committed_cast, harbour, text)
    let_time_pass()
    harbour.until(deployment, lambda _: not Replica.objects.exclude(status=R.GONE).exists())
    ask(deployment)

    waker.answer(deployment.pk, runtime=harbour.runtime)

    assert replica().status == R.READY
    assert replicas_on_route() == [replica().pk]
    assert Awakening.objects.filter(tier="absent").count() == 2


def test_the_route_has_the_replica_before_anything_else_is_looked_at(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = sleeping(committed_cast, harbour, R.FROZEN)
    ask(deployment)

    (wished,) = arrivals.wished(deployment.pk)
    arrivals.bring(wished, runtime=harbour.runtime)

    assert replicas_on_route() == [wished.replica_id]
    # The look that follows still sees that somebody asked, and wants a replica for it.
    assert Wake.objects.exists()
    harbour.step(deployment)
    assert Scale.objects.get().wanted == 1
    assert not Wake.objects.exists()


def test_the_waker_hears_of_a_wake_and_of_one_that_is_asked_for_again(committed_cast: Cast, database_url: str) -> None:
    deployment = apply(committed_cast, COMPOSE)
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {WAKE_REQUESTED}")

        ask(deployment)
        first = [notice.payload for notice in listener.notifies(timeout=5, stop_after=1)]
        Wake.objects.update(requested_at=clock.now())
        again = [notice.payload for notice in listener.notifies(timeout=5, stop_after=1)]

    assert first == again == [deployment.pk]


def test_a_request_during_the_drain_takes_it_back(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = ready(committed_cast, harbour)
    let_time_pass()
    reconcile.reconcile(deployment.pk, runtime=harbour.runtime)
    assert replica().status == R.DRAINING
    ask(deployment)

    waker.answer(deployment.pk, runtime=harbour.runtime)

    assert replica().status == R.READY
    assert replicas_on_route() == [replica().pk]


def test_a_frozen_replica_that_ended_is_replaced_at_the_next_request_and_counts_as_no_failure(
    committed_cast: Cast, harbour: Harbour
) -> None:
    deployment = sleeping(committed_cast, harbour, R.FROZEN)
    dead = replica()
    state = msgspec.json.decode((harbour.home / "processes" / dead.container_name / "state.json").read_bytes())
    os.kill(state["pid"], signal.SIGKILL)
    wait_until(lambda: container(harbour, dead.container_name) == "exited")

    harbour.until(deployment, lambda _: not Replica.objects.exclude(status=R.GONE).exists())

    dead.refresh_from_db()
    assert (dead.failed_at, deployment.status) == (None, D.IDLE)
    assert not Reservation.objects.exists()
    ask(deployment)
    waker.answer(deployment.pk, runtime=harbour.runtime)
    assert replica().status == R.READY


@pytest.mark.parametrize("tier", [R.FROZEN, R.STOPPED])
def test_a_container_that_vanished_in_its_sleep_is_made_anew_for_who_asks(
    tier: R, committed_cast: Cast, harbour: Harbour
) -> None:
    deployment = sleeping(committed_cast, harbour, tier)
    gone = replica()
    harbour.runtime.remove(gone.container_name)
    ask(deployment)

    waker.answer(deployment.pk, runtime=harbour.runtime)
    harbour.until(deployment, lambda one: one.status == D.READY)

    assert replica().pk != gone.pk
    assert Reservation.objects.get().replica_id == replica().pk


@pytest.mark.parametrize("tier", [R.FROZEN, R.STOPPED])
@pytest.mark.parametrize("deed", ["delete", "pause", "new revision"])
def test_who_sleeps_goes_when_it_is_not_wanted_any_more(
    deed: str, tier: R, committed_cast: Cast, harbour: Harbour
) -> None:
    deployment = sleeping(committed_cast, harbour, tier)
    asleep = replica()

    match deed:
        case "delete":
            services.delete(deployment=deployment, by=committed_cast.alice.actor)
        case "pause":
            services.pause(deployment=deployment, by=committed_cast.alice.actor)
        case _:
            apply(committed_cast, COMPOSE.replace("256", "128"))
    harbour.until(deployment, lambda _: Replica.objects.get(pk=asleep.pk).status == R.GONE)

    assert container(harbour, asleep.container_name) is None
    assert not Path(asleep.socket).parent.exists()
    assert not Reservation.objects.filter(pk=asleep.pk).exists()


@pytest.mark.parametrize("tier", [R.FROZEN, R.STOPPED])
def test_a_driver_that_died_while_it_put_one_to_sleep_is_followed_by_another(
    tier: R, committed_cast: Cast, harbour: Harbour
) -> None:
    deployment = ready(committed_cast, harbour)
    # It had said so and had done nothing yet.
    Replica.objects.update(status=tier)
    Scale.objects.update(wanted=0, active_at=clock.now() - HOURS)

    expected = "paused" if tier == R.FROZEN else "exited"
    harbour.until(deployment, lambda _: container(harbour, replica().container_name) == expected)

    assert Reservation.objects.exists() == (tier == R.FROZEN)


def test_a_wish_that_comes_while_it_falls_asleep_is_not_lost(committed_cast: Cast, harbour: Harbour) -> None:
    ready(committed_cast, harbour)
    Replica.objects.update(status=R.FROZEN)

    class Late:
        """The runtime, at the moment that somebody asks."""

        def __getattr__(self, name: str) -> object:
            return getattr(harbour.runtime, name)

        def pause(self, name: str) -> None:
            harbour.runtime.pause(name)
            Replica.objects.update(wake_at=clock.now())

    assert life.drive(replica().pk, runtime=Late()) == R.READY  # type: ignore[arg-type]
    assert container(harbour, replica().container_name) == "running"


def test_memory_that_another_needs_is_had_from_who_sleeps(committed_cast: Cast, harbour: Harbour) -> None:
    sleeping(committed_cast, harbour, R.FROZEN)
    asleep = replica()
    node = Node.objects.get()
    Node.objects.update(memory_bytes=node.used_memory_bytes + 10)

    other = services.apply(
        organization=committed_cast.alice.organization,
        name="other",
        compose_text=COMPOSE,
        by=committed_cast.alice.actor,
    ).deployment
    harbour.until(other, lambda one: one.status == D.READY)

    asleep.refresh_from_db()
    assert (asleep.status, asleep.reason_code) == (R.STOPPED, "memory_needed")
    assert container(harbour, asleep.container_name) == "exited"
    assert Reservation.objects.get().replica_id == other.replicas.get().pk


def test_who_wakes_and_finds_its_room_taken_goes_and_one_is_made_where_there_is_some(
    committed_cast: Cast, harbour: Harbour
) -> None:
    deployment = sleeping(committed_cast, harbour, R.STOPPED)
    asleep = replica()
    node = Node.objects.get()
    Node.objects.update(used_memory_bytes=node.memory_bytes)
    ask(deployment)

    waker.answer(deployment.pk, runtime=harbour.runtime)

    asleep.refresh_from_db()
    assert (asleep.status, asleep.failed_at) == (R.GONE, None)
    waiting = replica()
    assert (waiting.status, waiting.reason_code) == (R.PENDING, "no_capacity")
    Node.objects.update(used_memory_bytes=0)
    harbour.until(deployment, lambda one: one.status == D.READY)


def test_somebody_who_may_not_run_anything_wakes_nothing(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = sleeping(committed_cast, harbour, R.FROZEN)
    services.pause(deployment=deployment, by=committed_cast.alice.actor)
    ask(deployment)

    assert arrivals.wished(deployment.pk) == ()
    assert replica().wake_at is None


def test_before_the_gateway_serves_no_route_leads_to_an_engine_that_is_gone(
    committed_cast: Cast, harbour: Harbour
) -> None:
    deployment = ready(committed_cast, harbour)
    assert settling.settle(runtime=harbour.runtime) == ()
    # `down` ends the engines, and the machine may as well.
    harbour.runtime.remove(replica().container_name)

    assert settling.settle(runtime=harbour.runtime) == (deployment.pk,)

    assert replicas_on_route() == []
    assert Route.objects.get().document["status"] == "provisioning"
    harbour.until(deployment, lambda one: one.status == D.READY)


def test_a_wake_does_not_announce_an_engine_that_is_gone(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = ready(committed_cast, harbour)
    dead = replica()
    harbour.runtime.remove(dead.container_name)
    Route.objects.all().delete()
    ask(deployment)

    waker.answer(deployment.pk, runtime=harbour.runtime)
    harbour.until(deployment, lambda one: one.status == D.READY)

    assert replica().pk != dead.pk
    assert replicas_on_route() == [replica().pk]
