"""The verbs of the fleet's memory: a machine reports itself, a replica reserves room and gives it back.

Nothing here speaks to a container runtime; release room only after the runtime has confirmed that a container is gone.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q, Sum

from moorage.fleet import database_clock, declared_pool, machine, preemption, snapshot
from moorage.fleet.board import Board
from moorage.fleet.decision import Asker, decide
from moorage.fleet.errors import NoCapacity, RoomIsIdle
from moorage.fleet.models import Device, DeviceShare, Node, Reservation, Waiting
from moorage.fleet.placement import Demand, IdleReplica, Placement, Quiet, Refusal
from moorage.fleet.snapshot import SILENT_AFTER

__all__ = ["SILENT_AFTER", "note_weights", "register_node", "release", "report", "reserve", "would_fit"]

_REPORT_EVERY: Final = dt.timedelta(minutes=1)
#: Decisions on a picture that had changed when it came to writing. After so many, everybody else is held up.
_RACES: Final = 5
#: Nobody called: the replicas that may have to make way.
_NOBODY: Final[Mapping[str, Quiet]] = MappingProxyType({})
#: Refusals that pass when room frees up: who gets one keeps its turn.
_PASSING: Final = frozenset({"nodes_full", "others_first"})
_NOTE_WEIGHTS: Final = """
    INSERT INTO node_weights (node_id, digest, seen_at)
    SELECT node_id, %(digest)s, %(now)s FROM reservation WHERE replica_id = %(replica)s
    ON CONFLICT (node_id, digest) DO UPDATE SET seen_at = excluded.seen_at
"""


class _Changed(Exception):
    """What was decided on is not so any more."""


def report() -> None:
    """Report what takes replicas here: this machine, or the pool that the operator declares in its place. Idempotent.
    Raises PoolInvalid."""
    pool = declared_pool.configured()
    if pool is not None:
        declared_pool.declare(pool)
    if pool is None or pool.is_this_machine_included:
        register_node()


def register_node() -> Node:
    """Report this machine: its node is made or brought up to date. Idempotent."""
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
            node.seen_at = database_clock.now()
            node.save(update_fields=["memory_bytes", "cpu_millis", "runtime", "facts", "seen_at"])
        declared_pool.write_devices(node, found.devices)
    return node


def reserve(
    *, replica_id: str, organization_id: str, demand: Demand, idle: Mapping[str, Quiet] = _NOBODY
) -> Reservation:
    """Room for one replica in the best place. Idempotent: a replica that has room keeps it.

    ``idle`` are replicas that nobody calls, and how each is: they may have to make way.

    1. Let this machine report itself, if its last report is old or there is no node at all.
    2. Take a picture of the pool and of who waits, without a lock, and decide, purely.
    3. Lock the chosen node and then its devices; if anything it was chosen for has changed, decide again.
    4. Write the reservation, what it holds of devices, and the counters.

    Raises RoomIsIdle, which names who has to make way, and NoCapacity, which says why and what would fit.
    """
    _report_if_due()
    demand = dataclasses.replace(demand, organization_id=organization_id)
    for race in range(_RACES + 1):
        try:
            with transaction.atomic():
                if race == _RACES:
                    # In the one order in which everybody locks them: nothing changes until we are done.
                    list(Node.objects.select_for_update().order_by("pk").values_list("pk"))
                existing = Reservation.objects.filter(pk=replica_id).first()
                if existing is not None:
                    return existing
                decision = _decide(replica_id, demand, idle)
                if isinstance(decision, Placement) and not decision.preempts:
                    return _write(replica_id, demand, decision)
            break
        except _Changed:
            continue
        except IntegrityError:
            # Two drivers of one replica at once: the other one's reservation stands.
            existing = Reservation.objects.filter(pk=replica_id).first()
            if existing is not None:
                return existing
            raise
    else:
        raise AssertionError("a decision behind the locks of all nodes was contradicted by them")
    _wait(replica_id, demand, decision)
    if isinstance(decision, Placement):
        raise RoomIsIdle(preempts=decision.preempts)
    raise NoCapacity(decision.sentence, reason_code=decision.reason_code)


def _decide(replica_id: str, demand: Demand, idle: Mapping[str, Quiet]) -> Placement | Refusal:
    now = database_clock.now()
    return decide(
        Asker(replica_id=replica_id, demand=demand, waited=snapshot.waited(replica_id, now=now)),
        snapshot.waiting(now=now, besides=replica_id),
        snapshot.nodes(now=now, digest=demand.digest),
        policy="spread" if settings.MOORAGE_PLACEMENT == "spread" else "pack",
        patience=dt.timedelta(seconds=settings.MOORAGE_PLACEMENT_PATIENCE_SECONDS),
        idle=snapshot.idle(idle),
    )


def _write(replica_id: str, demand: Demand, placement: Placement) -> Reservation:
    node = Node.objects.select_for_update().get(pk=placement.node_id)
    devices = list(Device.objects.select_for_update().filter(pk__in=placement.device_ids).order_by("pk"))
    (state,) = snapshot.nodes(now=database_clock.now(), only=[node.pk])
    holds = placement.share_bytes
    is_as_decided = (
        state.is_open
        and state.free_memory_bytes >= demand.memory_bytes
        and not state.keeps_out(demand)
        and len(devices) == len(placement.device_ids)
        and all(_is_to_be_had(device, demand) for device in devices)
    )
    if not is_as_decided:
        raise _Changed
    reservation = Reservation.objects.create(
        replica_id=replica_id,
        node=node,
        organization_id=demand.organization_id,
        memory_bytes=demand.memory_bytes,
        cpu_millis=demand.cpu_millis,
        priority=demand.priority,
        why=placement.why[:300],
    )
    for device in devices:
        device.organization_id = demand.organization_id
        if holds:
            device.used_memory_bytes += holds
            DeviceShare.objects.create(
                reservation=reservation, device=device, organization_id=demand.organization_id, memory_bytes=holds
            )
        else:
            device.reservation = reservation
        device.save(update_fields=["organization_id", "used_memory_bytes", "reservation"])
    Node.objects.filter(pk=node.pk).update(
        used_memory_bytes=F("used_memory_bytes") + demand.memory_bytes,
        used_cpu_millis=F("used_cpu_millis") + demand.cpu_millis,
    )
    Waiting.objects.filter(pk=replica_id).delete()
    return reservation


def _is_to_be_had(device: Device, demand: Demand) -> bool:
    if not device.is_present or device.reservation_id is not None:
        return False
    if demand.gpu_share_bytes:
        is_ours = device.organization_id in {"", demand.organization_id}
        return is_ours and device.memory_bytes - device.used_memory_bytes >= demand.gpu_share_bytes
    return device.used_memory_bytes == 0


def _wait(replica_id: str, demand: Demand, decision: Placement | Refusal) -> None:
    """Keeps a turn for who may get room later; who never will keeps nobody waiting."""
    if isinstance(decision, Refusal) and decision.reason_code not in _PASSING:
        Waiting.objects.filter(pk=replica_id).delete()
        return
    now = database_clock.now()
    fields = {"organization_id": demand.organization_id, "demand": demand.to_json(), "asked_at": now}
    still = Waiting.objects.filter(pk=replica_id, asked_at__gt=now - snapshot.ASKS_AGAIN)
    if not still.update(**fields):
        Waiting.objects.update_or_create(pk=replica_id, defaults={**fields, "since": now})


@transaction.atomic
def release(*, replica_id: str) -> None:
    """Give back what a replica holds. Idempotent. Call it only when its container is confirmed gone."""
    Waiting.objects.filter(pk=replica_id).delete()
    reservation = Reservation.objects.filter(pk=replica_id).first()
    if reservation is None:
        return
    # The node first, as in reserve(): one order of locks.
    Node.objects.select_for_update().get(pk=reservation.node_id)
    Device.objects.filter(reservation_id=replica_id).update(reservation=None, organization_id="")
    shared = list(DeviceShare.objects.filter(reservation_id=replica_id).values_list("device_id", flat=True))
    DeviceShare.objects.filter(reservation_id=replica_id).delete()
    for device in Device.objects.select_for_update().filter(pk__in=shared).order_by("pk"):
        device.used_memory_bytes = device.shares.aggregate(used=Sum("memory_bytes"))["used"] or 0
        if not device.used_memory_bytes:
            device.organization_id = ""
        device.save(update_fields=["used_memory_bytes", "organization_id"])
    deleted, _ = Reservation.objects.filter(pk=replica_id).delete()
    if deleted:
        Node.objects.filter(pk=reservation.node_id).update(
            used_memory_bytes=F("used_memory_bytes") - reservation.memory_bytes,
            used_cpu_millis=F("used_cpu_millis") - reservation.cpu_millis,
        )


def would_fit(*, organization_id: str, demand: Demand, without: Iterable[str]) -> bool:
    """Whether a node would have room for ``demand`` if the replicas ``without`` were gone from it. Promises nothing."""
    gone: dict[str, list[IdleReplica]] = {}
    for replica in snapshot.idle(dict.fromkeys(without, "asleep")):
        gone.setdefault(replica.node_id, []).append(replica)
    demand = dataclasses.replace(demand, organization_id=organization_id)
    nodes = snapshot.nodes(now=database_clock.now(), only=list(gone))
    return any(Board([preemption.without(node, gone[node.node_id])]).place(demand) is not None for node in nodes)


def note_weights(*, replica_id: str, digest: str) -> None:
    """Remember that the node of this replica has these weights now. Nothing, if the replica holds no room."""
    with connection.cursor() as cursor:
        cursor.execute(_NOTE_WEIGHTS, {"replica": replica_id, "digest": digest, "now": database_clock.now()})


def _report_if_due() -> None:
    """Whoever reserves runs on a node, so its asking is a sign of life, and the time to look for lost devices."""
    stale = Q(name=machine.name(), is_emulated=False)
    if settings.MOORAGE_POOL is not None:
        stale |= Q(is_emulated=True)
    if (
        not Node.objects.exists()
        or Node.objects.filter(stale, seen_at__lt=database_clock.now() - _REPORT_EVERY).exists()
    ):
        report()
