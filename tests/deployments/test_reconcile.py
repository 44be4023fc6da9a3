"""Reconcile with a real engine: ready means a token, what dies is replaced, what is deleted leaves nothing."""

import datetime as dt
import os
import signal
from pathlib import Path

import httpx
import msgspec
import pytest

from moorage.deployments import orphans, queries, reconcile, services
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Route, Scale, Wake
from moorage.fleet.models import Reservation
from moorage.kernel import clock
from moorage.wire import records
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE, Harbour, apply

pytestmark = pytest.mark.engine

D, R = DeploymentStatus, ReplicaStatus


def route(served_name: str = "demo/llm") -> records.Route:
    return msgspec.convert(Route.objects.get(served_name=served_name).document, records.Route)


def is_ready(deployment: Deployment) -> bool:
    return deployment.status == D.READY


def test_a_deployment_becomes_ready_and_its_route_answers(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = apply(committed_cast)

    harbour.until(deployment, is_ready)

    replica = queries.replicas(deployment).get()
    assert replica.argv[0] == str(harbour.runtime._llama_server)  # type: ignore[attr-defined]
    assert "--alias" in replica.argv
    assert replica.ready_at is not None
    assert route().status == "ready"
    transport = httpx.HTTPTransport(uds=route().replicas[0].socket)
    with httpx.Client(transport=transport, base_url="http://runner") as client:
        answer = client.post("/v1/completions", json={"model": "demo/llm", "prompt": "The sea", "max_tokens": 4})
    assert answer.json()["usage"]["completion_tokens"] >= 1
    codes = list(deployment.timeline.order_by("at").values_list("code", flat=True))
    assert codes[0] == "revision_applied"
    assert "replica_ready" in codes and "deployment_ready" in codes


def test_the_same_content_again_changes_nothing(committed_cast: Cast, harbour: Harbour) -> None:
    first = apply(committed_cast)

    again = services.apply(
        organization=committed_cast.alice.organization, name="demo", compose_text=COMPOSE, by=committed_cast.alice.actor
    )

    assert not again.is_changed
    assert again.deployment.pk == first.pk
    assert again.revision.number == 1


def test_a_killed_engine_is_replaced(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = apply(committed_cast)
    harbour.until(deployment, is_ready)
    first = queries.replicas(deployment).get()
    state = msgspec.json.decode((harbour.home / "processes" / first.container_name / "state.json").read_bytes())

    os.kill(state["pid"], signal.SIGKILL)
    harbour.until(
        deployment,
        lambda _: (
            Replica.objects.filter(status=R.READY).exclude(pk=first.pk).exists()
            and not Replica.objects.exclude(status__in=[R.READY, R.GONE]).exists()
        ),
    )

    first.refresh_from_db()
    assert first.status == R.GONE
    assert first.failed_at is not None
    assert first.reason_code in {"engine_exited", "container_gone"}
    assert Reservation.objects.count() == 1
    assert len(harbour.runtime.list()) == 1


def test_a_new_revision_takes_over_before_the_old_one_goes(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = apply(committed_cast)
    harbour.until(deployment, is_ready)
    old = queries.replicas(deployment).get()
    applied = services.apply(
        organization=committed_cast.alice.organization,
        name="demo",
        compose_text=COMPOSE.replace("256", "128"),
        by=committed_cast.alice.actor,
    )
    seen_without_route = []

    def has_moved(_: Deployment) -> bool:
        seen_without_route.append(not route().replicas)
        old.refresh_from_db()
        return old.status == R.GONE

    harbour.until(deployment, has_moved)

    assert not any(seen_without_route)
    assert route().revision_id == applied.revision.pk
    assert queries.has_settled(deployment, applied.revision)
    services.roll_back(deployment=deployment, number=1, by=committed_cast.alice.actor)
    harbour.until(deployment, lambda one: is_ready(one) and route().revision_id == old.revision_id)


def test_idle_goes_to_zero_and_a_wake_brings_it_back(committed_cast: Cast, harbour: Harbour) -> None:
    never = "x-moorage: {scale: {sleep: {frozen: never, stopped: never}}}"
    deployment = apply(committed_cast, COMPOSE.replace("context_size: 256\n", f"context_size: 256\n    {never}\n"))
    harbour.until(deployment, is_ready)
    long_ago = clock.now() - dt.timedelta(hours=1)
    Scale.objects.update(active_at=long_ago)
    Replica.objects.update(ready_at=long_ago, status_changed_at=long_ago)

    harbour.until(deployment, lambda one: one.status == D.IDLE and not harbour.runtime.list())

    assert route().status == "idle"
    Wake.objects.create(
        route_id=f"{deployment.pk}:llm", deployment_id=deployment.pk, model_key="llm", requested_at=clock.now()
    )
    harbour.until(deployment, is_ready)
    assert route().status == "ready"
    assert not Wake.objects.exists()


def test_idle_time_does_not_run_before_a_replica_is_ready(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = apply(committed_cast, COMPOSE + "x-moorage: {}\n")
    # No worker was there for a while.
    Scale.objects.update(active_at=clock.now() - dt.timedelta(hours=1))
    reconcile.reconcile(deployment.pk, runtime=harbour.runtime)
    assert Replica.objects.get().status == R.PENDING

    # And now a pull that takes longer than the idle time.
    Scale.objects.update(active_at=clock.now() - dt.timedelta(hours=1))
    harbour.until(deployment, lambda one: one.status != D.PROVISIONING)

    assert deployment.status == D.READY


def test_a_paused_deployment_does_not_wake(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = apply(committed_cast)
    harbour.until(deployment, is_ready)

    services.pause(deployment=deployment, by=committed_cast.alice.actor)
    Wake.objects.create(
        route_id=f"{deployment.pk}:llm", deployment_id=deployment.pk, model_key="llm", requested_at=clock.now()
    )
    harbour.until(deployment, lambda one: one.status == D.PAUSED and not harbour.runtime.list())

    assert route().status == "paused"
    services.resume(deployment=deployment, by=committed_cast.alice.actor)
    harbour.until(deployment, is_ready)


def test_deleting_leaves_no_container_socket_or_reservation(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = apply(committed_cast)
    harbour.until(deployment, is_ready)
    socket = Path(queries.replicas(deployment).get().socket)
    assert socket.exists()

    services.delete(deployment=deployment, by=committed_cast.alice.actor)
    assert not Route.objects.exists()
    harbour.until(deployment, lambda one: one.status == D.DELETED)

    assert harbour.runtime.list() == ()
    assert not socket.exists() and not socket.parent.exists()
    assert not Reservation.objects.exists()
    apply(committed_cast)


def test_a_driver_that_died_is_followed_by_another(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = apply(committed_cast)
    harbour.step(deployment)
    Replica.objects.update(status=R.STARTING, lease_until=clock.now() - dt.timedelta(seconds=1), ready_at=None)

    harbour.until(deployment, is_ready)

    assert len(harbour.runtime.list()) == 1


def test_an_orphaned_container_and_its_room_are_found(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = apply(committed_cast)
    harbour.until(deployment, is_ready)
    assert orphans.reap(runtime=harbour.runtime) == ()
    Replica.objects.update(status=R.GONE)

    def reaped() -> bool:
        orphans.reap(runtime=harbour.runtime)
        return harbour.runtime.list() == ()

    assert not reaped(), "a young container may belong to a creation that is being written down"
    assert not Reservation.objects.exists()


def test_an_engine_that_ends_at_once_is_explained_and_given_time(
    committed_cast: Cast, harbour: Harbour, short_tmp: Path
) -> None:
    broken = short_tmp / "broken-engine"
    broken.write_text("#!/bin/sh\necho 'error: the keel is broken' >&2\nexit 3\n")
    broken.chmod(0o755)
    harbour.runtime._llama_server = str(broken)  # type: ignore[attr-defined]
    deployment = apply(committed_cast)

    harbour.until(deployment, lambda one: one.status == D.FAILED)

    assert deployment.reason_code == "engine_exited"
    assert "the keel is broken" in deployment.reason
    assert Replica.objects.filter(failed_at__isnull=False).count() == 3
    assert queries.has_settled(deployment, deployment.target) is False  # type: ignore[arg-type]
