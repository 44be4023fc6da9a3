"""The isolation that replicas really got, stored and asked for."""

import dataclasses
import logging
from collections.abc import Iterable
from typing import Any, Final

from moorage.fleet.errors import FleetError
from moorage.fleet.models import Node, NodeProbe, ReplicaIsolation, Reservation
from moorage.fleet.runtime import ContainerRuntime
from moorage.kernel import clock

#: Before a replica's first token.
UNREAD: Final[dict[str, Any]] = {
    "level": "unknown",
    "sentence": "Not read back yet.",
    "runtime": "",
    "container_runtime": "",
    "walls": [],
    "read_at": None,
}

log = logging.getLogger(__name__)


def read_back(*, replica_id: str, container_name: str, runtime: ContainerRuntime) -> None:
    """Ask the runtime what the replica's runner got, and store it. A runtime that does not answer stores nothing: a
    replica that serves is not held up for what is told about it."""
    try:
        found = runtime.isolation(container_name)
    except FleetError as error:
        log.warning("isolation_unread replica=%s error=%s", replica_id, error)
        return
    ReplicaIsolation.objects.update_or_create(
        replica_id=replica_id, defaults={"level": found.level, "document": found.document(), "read_at": clock.now()}
    )
    loose = [wall.code for wall in found.walls if wall.holds is False]
    if loose:
        log.error("isolation_loose replica=%s walls=%s", replica_id, ",".join(loose))


def of_replicas(replica_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What was read back, by replica; those that were not read yet are missing."""
    rows = ReplicaIsolation.objects.filter(replica_id__in=list(replica_ids))
    return {row.replica_id: {**row.document, "read_at": row.read_at} for row in rows}


@dataclasses.dataclass(frozen=True, kw_only=True)
class HostWalls:
    """One node: what its walls are made of, as it was last read back, and what probes inside its runners found."""

    node: Node
    host: dict[str, Any]
    probes: tuple[NodeProbe, ...]


def host_walls() -> tuple[HostWalls, ...]:
    """Every node that is a machine, by name, for administrators."""
    nodes = list(Node.objects.filter(is_emulated=False).order_by("name").prefetch_related("probes"))
    holders = dict(Reservation.objects.values_list("replica_id", "node_id"))
    rows = ReplicaIsolation.objects.filter(replica_id__in=holders).order_by("read_at")
    hosts = {holders[row.replica_id]: row.document["host"] for row in rows if row.document.get("host")}
    return tuple(HostWalls(node=node, host=hosts.get(node.pk, {}), probes=tuple(node.probes.all())) for node in nodes)
