"""The pool as values, read from the tables: what a decision is made on. Nothing is locked here."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Final

from moorage.fleet.decision import Asker
from moorage.fleet.models import SLICE, Device, DeviceShare, Node, NodeWeights, Reservation, Waiting
from moorage.fleet.placement import Demand, DeviceKind, DeviceState, IdleReplica, NodeState, Quiet

#: A node that has not reported itself for so long takes no new replica.
SILENT_AFTER: Final = dt.timedelta(minutes=10)
#: Who has not asked again for so long waits no more. Replicas that wait are driven every few seconds.
ASKS_AGAIN: Final = dt.timedelta(seconds=30)


def nodes(*, now: dt.datetime, digest: str = "", only: Iterable[str] | None = None) -> list[NodeState]:
    """Every node (or ``only`` these), with the devices that are there and whether its store has ``digest``."""
    rows = Node.objects.all() if only is None else Node.objects.filter(pk__in=only)
    devices: dict[str, list[Device]] = {}
    found = Device.objects.filter(is_present=True).order_by("vendor_id")
    for device in found if only is None else found.filter(node_id__in=only):
        devices.setdefault(device.node_id, []).append(device)
    warm = set(NodeWeights.objects.filter(digest=digest).values_list("node_id", flat=True)) if digest else set()
    digests = frozenset({digest})
    return [
        _state(node, devices.get(node.pk, []), now=now, digests=digests if node.pk in warm else frozenset())
        for node in rows
    ]


def waiting(*, now: dt.datetime, besides: str) -> list[Asker]:
    """Everybody else who asked lately and was refused for want of room."""
    rows = Waiting.objects.filter(asked_at__gt=now - ASKS_AGAIN).exclude(pk=besides)
    return [
        Asker(replica_id=row.pk, demand=Demand.from_json(row.demand), waited=max(now - row.since, dt.timedelta()))
        for row in rows
    ]


def waited(replica_id: str, *, now: dt.datetime) -> dt.timedelta:
    """For how long this replica has asked without a break."""
    since = Waiting.objects.filter(pk=replica_id, asked_at__gt=now - ASKS_AGAIN).values_list("since", flat=True).first()
    return max(now - since, dt.timedelta()) if since else dt.timedelta()


def idle(quiet: Mapping[str, Quiet]) -> list[IdleReplica]:
    """What these replicas hold; ``quiet`` says how each is. Who holds nothing is left out."""
    if not quiet:
        return []
    devices: dict[str, list[DeviceState]] = {}
    for device in Device.objects.filter(reservation__in=quiet, is_present=True):
        assert device.reservation_id is not None
        devices.setdefault(device.reservation_id, []).append(state_of(device))
    shares: dict[str, list[tuple[str, int]]] = {}
    for share in DeviceShare.objects.filter(reservation__in=quiet, device__is_present=True):
        shares.setdefault(share.reservation_id, []).append((share.device_id, share.memory_bytes))
    return [
        IdleReplica(
            replica_id=held.pk,
            node_id=held.node_id,
            memory_bytes=held.memory_bytes,
            priority=held.priority,
            is_asleep=quiet[held.pk] == "asleep",
            is_leaving=quiet[held.pk] == "leaving",
            devices=tuple(devices.get(held.pk, ())),
            shares=tuple(shares.get(held.pk, ())),
        )
        for held in Reservation.objects.filter(pk__in=quiet)
    ]


def state_of(device: Device) -> DeviceState:
    """A device with its shares."""
    return DeviceState(
        device_id=device.pk,
        memory_bytes=device.memory_bytes,
        name=device.name,
        is_slice=device.kind == SLICE,
        used_memory_bytes=device.used_memory_bytes,
        organization_id=device.organization_id if device.used_memory_bytes else "",
    )


def _state(node: Node, devices: list[Device], *, now: dt.datetime, digests: frozenset[str]) -> NodeState:
    kinds: dict[tuple[str, bool], list[int]] = {}
    for device in devices:
        kinds.setdefault((device.name, device.kind == SLICE), []).append(device.memory_bytes)
    states = [state_of(device) for device in devices if device.reservation_id is None]
    return NodeState(
        node_id=node.pk,
        name=node.name,
        memory_bytes=node.memory_bytes,
        used_memory_bytes=node.used_memory_bytes,
        cpu_millis=node.cpu_millis,
        used_cpu_millis=node.used_cpu_millis,
        is_drained=node.is_drained,
        is_seen=node.is_emulated or now - node.seen_at < SILENT_AFTER,
        kinds=tuple(
            DeviceKind(name=name, memory_bytes=max(sizes), count=len(sizes), is_slice=is_slice)
            for (name, is_slice), sizes in sorted(kinds.items())
        ),
        free_devices=tuple(state for state in states if not state.used_memory_bytes),
        shared_devices=tuple(state for state in states if state.used_memory_bytes),
        labels=tuple(sorted(node.labels.items())),
        taints=tuple(sorted(node.taints.items())),
        digests=digests,
    )
