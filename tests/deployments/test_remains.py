"""What is left behind is found and removed within a minute, and every night somebody says so, also of nothing."""

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from moorage.accounts.actor import Actor
from moorage.deployments import life, orphans, reconcile, remains, services
from moorage.deployments.models import (
    Deployment,
    DeploymentStatus,
    LogFollower,
    Orphan,
    RemainsReport,
    Replica,
    ReplicaStatus,
    Route,
    RunnerLine,
    Wake,
)
from moorage.fleet import sockets
from moorage.fleet.models import Reservation
from moorage.fleet.runner_output import Leftover
from moorage.fleet.runtime_memory import MemoryRuntime
from moorage.kernel import clock, ids
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE
from tests.deployments.test_vital_signs import StubbedRuntime

LONG_AGO = dt.timedelta(minutes=5)


@pytest.fixture
def runtime(committed_cast: Cast, short_tmp: Path) -> Iterator[StubbedRuntime]:
    made = StubbedRuntime(instance="test")
    places = {"MOORAGE_SOCKET_DIR": short_tmp / "s", "MOORAGE_STORE": short_tmp / "store", "MOORAGE_INSTANCE": "test"}
    with override_settings(**places), made:
        yield made


@pytest.fixture
def deployment(runtime: StubbedRuntime, committed_cast: Cast) -> Deployment:
    made = services.apply(
        organization=committed_cast.alice.organization, name="demo", compose_text=COMPOSE, by=committed_cast.alice.actor
    ).deployment
    drive(made, runtime)
    assert Replica.objects.get().status == ReplicaStatus.READY
    return made


def drive(deployment: Deployment, runtime: MemoryRuntime) -> None:
    for replica_id in reconcile.reconcile(deployment.pk, runtime=runtime):
        life.drive(replica_id, runtime=runtime)


def age(runtime: MemoryRuntime) -> None:
    """Everything that is there is five minutes old."""
    for name, container in runtime._containers.items():
        object.__setattr__(container, "started_at", clock.now() - LONG_AGO)
        assert runtime._containers[name].started_at is not None
    for directory in Path(settings.MOORAGE_SOCKET_DIR).glob("rep_*"):
        past = (clock.now() - LONG_AGO).timestamp()
        os.utime(directory, (past, past))


def test_a_container_and_a_socket_and_room_without_a_replica_are_removed_and_told(
    runtime: StubbedRuntime, deployment: Deployment
) -> None:
    replica = Replica.objects.get()
    stray = sockets.directory(Path(settings.MOORAGE_SOCKET_DIR), replica_id=ids.new("rep"), epoch=1)
    stray.mkdir()
    runtime.leftovers.append(Leftover(kind="network", name="moorage-lost"))
    assert orphans.reap(runtime=runtime) == ("moorage-lost",)
    Replica.objects.update(status=ReplicaStatus.GONE)
    age(runtime)

    removed = orphans.reap(runtime=runtime)

    assert set(removed) == {replica.container_name, stray.name}
    assert runtime.list() == () and not Reservation.objects.exists()
    assert list(Path(settings.MOORAGE_SOCKET_DIR).glob("rep_*")) == []
    kinds = set(Orphan.objects.filter(removed_at__isnull=False).values_list("kind", flat=True))
    assert kinds == {"container", "reservation", "socket_directory", "network"}
    told = deployment.timeline.filter(code="orphan_removed")
    assert {event.by for event in told} == {"Moorage"}
    assert any("A container without a replica was removed." in event.message for event in told)
    assert orphans.reap(runtime=runtime) == ()


def test_what_belongs_to_a_replica_and_what_is_young_stays(runtime: StubbedRuntime, deployment: Deployment) -> None:
    age(runtime)
    young = sockets.directory(Path(settings.MOORAGE_SOCKET_DIR), replica_id=ids.new("rep"), epoch=1)
    young.mkdir()

    assert orphans.reap(runtime=runtime) == ()

    assert len(runtime.list()) == 1 and young.exists()
    assert Reservation.objects.count() == 1


def test_a_delete_leaves_nothing(runtime: StubbedRuntime, deployment: Deployment, committed_cast: Cast) -> None:
    Wake.objects.create(
        route_id=f"{deployment.pk}:llm", deployment_id=deployment.pk, model_key="llm", requested_at=clock.now()
    )
    services.delete(deployment=deployment, by=committed_cast.alice.actor)
    deadline = clock.now() + dt.timedelta(seconds=30)
    while deployment.status != DeploymentStatus.DELETED and clock.now() < deadline:
        drive(deployment, runtime)
        deployment.refresh_from_db()

    report = remains.report(runtime=runtime, by=Actor.person(committed_cast.ada))

    assert report.found == [] and report.problem == ""
    assert runtime.list() == ()
    assert list(Path(settings.MOORAGE_SOCKET_DIR).glob("rep_*")) == []
    for model in (Reservation, Route, Wake, LogFollower, RunnerLine):
        assert not model._default_manager.exists(), model
    assert not Replica.objects.exclude(status=ReplicaStatus.GONE).exists()


def test_every_night_has_its_report_once_also_when_nothing_is_found(
    runtime: StubbedRuntime, deployment: Deployment
) -> None:
    first = remains.report_if_due(runtime=runtime)
    again = remains.report_if_due(runtime=runtime)
    RemainsReport.objects.update(at=clock.now() - dt.timedelta(hours=25))
    next_night = remains.report_if_due(runtime=runtime)

    assert first is not None and first.found == [] and first.problem == "" and first.by == "Moorage"
    assert first.looked_at == {"containers": 1, "reservations": 1, "socket_directories": 1}
    assert again is None
    assert next_night is not None


def test_the_report_lists_what_was_removed_since_the_last_one(runtime: StubbedRuntime, deployment: Deployment) -> None:
    remains.report_if_due(runtime=runtime)
    name = Replica.objects.get().container_name
    Replica.objects.update(status=ReplicaStatus.GONE)
    age(runtime)
    orphans.reap(runtime=runtime)
    RemainsReport.objects.update(at=clock.now() - dt.timedelta(hours=25))

    report = remains.report_if_due(runtime=runtime)

    assert report is not None
    assert {(one["kind"], one["name"]) for one in report.found} >= {("container", name)}
    assert all(one["removed_at"] for one in report.found)


def test_a_runtime_that_does_not_answer_is_no_clean_report(runtime: StubbedRuntime, deployment: Deployment) -> None:
    runtime.is_reachable = False

    report = remains.report_if_due(runtime=runtime)

    assert report is not None
    assert "could not be looked at" in report.problem
    assert Reservation.objects.count() == 1
