"""What an instance holds at a moment, so that a test can say that something left nothing behind."""

import dataclasses
import json
from pathlib import Path

import docker

from moorage.artifacts.models import Artifact
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Route
from moorage.fleet.models import Reservation
from tests.flows.stack import Stack


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remains:
    """Rows, containers, sockets and weights."""

    deployments: frozenset[str]
    artifacts: frozenset[str]
    replicas: frozenset[str]
    reservations: frozenset[str]
    routes: frozenset[str]
    containers: frozenset[str]
    sockets: frozenset[str]
    weights: frozenset[str]

    @property
    def that_run(self) -> frozenset[str]:
        """Everything but the weights, which stay for the next replica, and what is remembered of their references."""
        return self.deployments | self.replicas | self.reservations | self.routes | self.containers | self.sockets


def of(stack: Stack) -> Remains:
    """What ``stack`` holds now."""
    return Remains(
        deployments=frozenset(
            Deployment.objects.exclude(status=DeploymentStatus.DELETED).values_list("name", flat=True)
        ),
        artifacts=frozenset(Artifact.objects.values_list("reference", flat=True)),
        replicas=frozenset(Replica.objects.exclude(status=ReplicaStatus.GONE).values_list("pk", flat=True)),
        reservations=frozenset(Reservation.objects.values_list("pk", flat=True)),
        routes=frozenset(Route.objects.values_list("pk", flat=True)),
        containers=containers(stack),
        sockets=_names(Path(stack.environment["MOORAGE_SOCKET_DIR"])),
        weights=_files(Path(stack.environment["MOORAGE_STORE"])),
    )


def containers(stack: Stack) -> frozenset[str]:
    """The names of this instance's containers, whatever their state; in the process runtime its processes'."""
    if stack.environment["MOORAGE_RUNTIME"] != "docker":
        return _names(stack.home / "run" / "processes")
    client = docker.DockerClient(base_url=stack.environment["DOCKER_HOST"], timeout=30)
    try:
        label = f"moorage.instance={stack.environment['MOORAGE_INSTANCE']}"
        found = client.api.containers(all=True, filters={"label": label})
    finally:
        client.close()
    return frozenset(summary["Names"][0].lstrip("/") for summary in found)


def engine_pid(stack: Stack, container_name: str) -> int:
    """The process id of an engine of the process runtime."""
    state = json.loads((stack.home / "run" / "processes" / container_name / "state.json").read_text())
    return int(state["pid"])


def _names(folder: Path) -> frozenset[str]:
    # The locks beside them have a folder of their own, with a dot.
    return frozenset(path.name for path in folder.glob("[!.]*") if path.is_dir())


def _files(store: Path) -> frozenset[str]:
    return frozenset(
        str(path.relative_to(store)) for path in store.rglob("*") if path.is_file() and "locks" not in path.parts
    )
