"""A declared pool of twelve nodes, deployments put there by REST, and the one loop that the workers run."""

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moorage.accounts.models import Scope
from moorage.deployments import life, reconcile
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, RouteActivity, Scale
from moorage.fleet.models import Device, Node, Reservation
from moorage.kernel import clock
from tests.api.conftest import Caller, calling
from tests.cast import Person
from tests.deployments.stubbed_runtime import StubbedRuntime
from tests.waiting import wait_until

GIB = 1024**3
HOURS = dt.timedelta(hours=3)
R = ReplicaStatus

POOL = """
nodes:
  - {{name: "a-{{1..8}}", memory: 64g, cpus: 32, gpus: [{{count: 4, name: H100, memory: 80g}}], labels: {{zone: a}}}}
  - {{name: "b-{{1..3}}", memory: 64g, cpus: 32, gpus: [{{count: 2, name: H200, memory: 141g}}], labels: {{zone: b}}}}
  - name: own-1
    memory: 64g
    cpus: 32
    gpus: [{{count: 7, name: H200, memory: 18g, mig: 1g.18gb}}]
    taints: {{organization: {owner}}}
"""


def compose(asks: str = "{}", *, scale: str = "{min: 0, max: 1, idle: 60}", context: int = 256) -> str:
    """One model that says this of devices, priority and node."""
    inner = asks.strip()[1:-1].strip()
    return f"""
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: {context}
    x-moorage: {{{inner}{", " if inner else ""}scale: {scale}}}
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pooled:
    """Everything there is: the runtime that runs the replicas, and where their sockets lie."""

    runtime: StubbedRuntime
    sockets: Path

    def put(self, who: Person, name: str, text: str) -> Deployment:
        """A Compose file through REST."""
        answer = caller(who)("PUT", f"deployments/{name}", text)
        assert answer.status_code in {200, 202}, answer.content
        return Deployment.objects.get(name=name, organization=who.organization)

    def delete(self, who: Person, name: str) -> None:
        """Through REST as well."""
        assert caller(who)("DELETE", f"deployments/{name}").status_code in {200, 202, 204}

    def step(self) -> None:
        """One look at everything that is not deleted, what it wants driven, and what a sweep would find."""
        for deployment_id in Deployment.objects.exclude(status=DeploymentStatus.DELETED).values_list("pk", flat=True):
            for replica_id in reconcile.reconcile(deployment_id, runtime=self.runtime):
                life.drive(replica_id, runtime=self.runtime)
        for replica_id in reconcile.undriven():
            life.drive(replica_id, runtime=self.runtime)

    def until(self, condition: Callable[[], Any], *, seconds: float = 60, what: str = "") -> None:
        """Steps until the condition holds."""

        def look() -> Any:
            self.step()
            return condition()

        wait_until(look, seconds=seconds, what=what or repr(standing()))


def caller(who: Person) -> Caller:
    """A program with a key of that person's."""
    return calling(who, Scope.MANAGE)


def standing() -> dict[str, str]:
    """Where each deployment stands."""
    return dict(Deployment.objects.exclude(status=DeploymentStatus.DELETED).values_list("name", "status"))


def statuses(deployment: Deployment) -> set[str]:
    """Of its replicas that are not gone."""
    return set(deployment.replicas.exclude(status=R.GONE).values_list("status", flat=True))


def place(deployment: Deployment) -> tuple[str, list[str]]:
    """The node of its only replica and the devices that it holds, whole or in a share."""
    held = Reservation.objects.get(pk=deployment.replicas.exclude(status=R.GONE).get().pk)
    devices = Device.objects.filter(reservation=held) | Device.objects.filter(shares__reservation=held)
    return held.node.name, sorted(devices.values_list("name", flat=True))


def let_time_pass() -> None:
    """Nobody has called anything for hours, and nothing has happened."""
    Scale.objects.update(active_at=clock.now() - HOURS)
    Replica.objects.update(ready_at=clock.now() - HOURS, status_changed_at=clock.now() - HOURS)
    RouteActivity.objects.update(last_request_at=clock.now() - HOURS)


def is_empty() -> bool:
    """No node counts anything, and no device is anybody's."""
    in_use = Node.objects.exclude(used_memory_bytes=0, used_cpu_millis=0).exists()
    return not in_use and not Device.objects.exclude(organization_id="").exists() and not Reservation.objects.exists()
