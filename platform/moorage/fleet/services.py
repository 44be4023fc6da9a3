"""The verbs of the fleet's memory: a machine reports itself, a replica reserves room and gives it back.

Nothing here speaks to a container runtime; release room only after the runtime has confirmed that a container is gone.
"""

import datetime as dt
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F

from moorage.fleet import machine
from moorage.fleet.errors import NoCapacity
from moorage.fleet.models import Device, Node, Reservation
from moorage.fleet.placement import Demand, DeviceState, NodeState, Placement, place
from moorage.kernel import clock

#: A node that has not reported itself for so long takes no new replica.
SILENT_AFTER: Final = dt.timedelta(minutes=10)
_REPORT_EVERY: Final = dt.timedelta(minutes=1)


def register_node() -> Node:
    """Report this machine: its node is made or brought up to date. Idempotent; call it when a worker starts."""
    found = machine.this_machine()
    with transaction.atomic():
        node, is_new = Node.objects.select_for_update().get_or_create(
            name=found.name,
            defaults={
                "memory_bytes": found.memory_bytes,
                "cpu_millis": found.cpu_millis,
                "runtime": settings.MOORAGE_RUNTIME,
                "facts": dict(found.facts),
            },
        )
        if not is_new:
            # What is reserved stays reserved: a smaller machine is full until replicas leave it.
            node.memory_bytes = max(found.memory_bytes, node.used_memory_bytes)
            node.cpu_millis = found.cpu_millis
            node.runtime = settings.MOORAGE_RUNTIME
            node.facts = dict(found.facts)
            node.seen_at = clock.now()
            node.save(update_fields=["memory_bytes", "cpu_millis", "runtime", "facts", "seen_at"])
        for device in found.devices:
            Device.objects.update_or_create(
                node=node,
                vendor_id=device.vendor_id,
                defaults={
                    "kind": device.kind,
                    "name": device.name,
                    "memory_bytes": device.memory_bytes,
                    "is_present": True,
                },
            )
        present = [device.vendor_id for device in found.devices]
        node.devices.exclude(vendor_id__in=present).update(is_present=False)
    return node


def reserve(*, replica_id: str, organization_id: str, demand: Demand) -> Reservation:
    """Room for one replica on the best node. Idempotent: a replica that has room keeps it.

    1. Let this machine report itself, if its last report is old or there is no node at all.
    2. Lock the nodes, in one order, so that concurrent calls decide one after the other.
    3. Decide, purely.
    4. Write the reservation, its devices and the node's counters.

    Raises NoCapacity, which says why and what would fit.
    """
    _report_if_due()
    with transaction.atomic():
        nodes = list(Node.objects.select_for_update().order_by("pk"))
        existing = Reservation.objects.filter(pk=replica_id).first()
        if existing is not None:
            return existing
        decision = place(demand, _states(nodes, now=clock.now()))
        if not isinstance(decision, Placement):
            raise NoCapacity(decision.sentence)
        reservation = Reservation.objects.create(
            replica_id=replica_id,
            node_id=decision.node_id,
            organization_id=organization_id,
            memory_bytes=demand.memory_bytes,
            cpu_millis=demand.cpu_millis,
            why=decision.why,
        )
        taken = Device.objects.filter(pk__in=decision.device_ids, reservation=None).update(reservation=reservation)
        assert taken == len(decision.device_ids), "a device changed hands behind the lock of its node"
        Node.objects.filter(pk=decision.node_id).update(
            used_memory_bytes=F("used_memory_bytes") + demand.memory_bytes,
            used_cpu_millis=F("used_cpu_millis") + demand.cpu_millis,
        )
        return reservation


@transaction.atomic
def release(*, replica_id: str) -> None:
    """Give back what a replica holds. Idempotent. Call it only when its container is confirmed gone."""
    reservation = Reservation.objects.filter(pk=replica_id).first()
    if reservation is None:
        return
    # The node first, as in reserve(): one order of locks.
    Node.objects.select_for_update().get(pk=reservation.node_id)
    Device.objects.filter(reservation_id=replica_id).update(reservation=None)
    deleted, _ = Reservation.objects.filter(pk=replica_id).delete()
    if deleted:
        Node.objects.filter(pk=reservation.node_id).update(
            used_memory_bytes=F("used_memory_bytes") - reservation.memory_bytes,
            used_cpu_millis=F("used_cpu_millis") - reservation.cpu_millis,
        )


def _report_if_due() -> None:
    """Whoever reserves runs on a node, so its asking is a sign of life."""
    if not Node.objects.exists():
        register_node()
        return
    Node.objects.filter(name=machine.name(), seen_at__lt=clock.now() - _REPORT_EVERY).update(seen_at=clock.now())


def _states(nodes: list[Node], *, now: dt.datetime) -> list[NodeState]:
    free: dict[str, list[DeviceState]] = {}
    count: dict[str, int] = {}
    for device in Device.objects.filter(node__in=nodes, is_present=True).order_by("vendor_id"):
        count[device.node_id] = count.get(device.node_id, 0) + 1
        if device.reservation_id is None:
            state = DeviceState(device_id=device.pk, memory_bytes=device.memory_bytes)
            free.setdefault(device.node_id, []).append(state)
    return [
        NodeState(
            node_id=node.pk,
            name=node.name,
            memory_bytes=node.memory_bytes,
            used_memory_bytes=node.used_memory_bytes,
            cpu_millis=node.cpu_millis,
            used_cpu_millis=node.used_cpu_millis,
            is_drained=node.is_drained,
            is_seen=now - node.seen_at < SILENT_AFTER,
            device_count=count.get(node.pk, 0),
            free_devices=tuple(free.get(node.pk, [])),
        )
        for node in nodes
    ]
