"""Replica seconds: what replicas did in their seconds, written down as they pass.

Statuses come from their spans, busy and idle from what the gateways report. Both are read some seconds late, so that
all reports of a second have come.
"""

import datetime as dt
from typing import Final

from django.db import transaction
from django.db.models import F, Max, Q

from moorage.deployments import replica_states, routes
from moorage.deployments.models import Replica, ReplicaStatus, RouteActivity, StatusSpan
from moorage.deployments.replica_states import Spans
from moorage.fleet import queries as fleet
from moorage.metering import services as metering
from moorage.metering.models import ReplicaUsage

#: Gateways report every two seconds what is busy.
REPORTED_WITHIN: Final = dt.timedelta(seconds=5)
#: How long the statuses of a replica are kept after its end: reconciliation looks at them once more.
KEPT: Final = dt.timedelta(days=1)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def record_all(*, now: dt.datetime) -> int:
    """Meters every replica up to some seconds before ``now``, or to its end; returns the seconds that are metered anew.
    Safe to repeat, and to run twice at once."""
    unmetered = Q(metered_until=None) | Q(ended_at=None) | Q(metered_until__lt=F("ended_at"))
    replica_ids = list(Replica.objects.filter(unmetered).values_list("pk", flat=True))
    return sum(record(replica_id, now=now) for replica_id in replica_ids)


@transaction.atomic
def record(replica_id: str, *, now: dt.datetime) -> int:
    """Meters one replica; the seconds that are metered anew: 0 where somebody else is at it."""
    rows = Replica.objects.select_for_update(of=("self",), skip_locked=True).select_related("deployment")
    replica = rows.filter(pk=replica_id).first()
    if replica is None:
        return 0
    spans = spans_of(replica)
    start = replica.metered_until or replica_states.first_moment(spans)
    until = min(replica.ended_at or now, now - REPORTED_WITHIN)
    is_over = replica.ended_at is not None and replica.ended_at <= until
    seconds = 0
    if start is not None and until > start:
        pieces = replica_states.pieces(spans, _busy(replica), start=start, until=until)
        if pieces:
            metering.record_replica_pieces(
                organization_id=replica.deployment.organization_id,
                deployment_id=replica.deployment_id,
                revision_id=replica.revision_id,
                replica_id=replica.pk,
                model_key=replica.model_key,
                pieces=pieces,
                device_class=device_class(replica.pk),
            )
            seconds = sum((one.ended_at - one.started_at) // dt.timedelta(seconds=1) for one in pieces)
        # The fraction of a second at its end is not billed.
        start += (until - start) // dt.timedelta(seconds=1) * dt.timedelta(seconds=1)
    metered_until = replica.ended_at if is_over else start
    if metered_until is not None and metered_until != replica.metered_until:
        Replica.objects.filter(pk=replica.pk).update(metered_until=metered_until)
    return seconds


def spans_of(replica: Replica) -> Spans:
    """The statuses of a replica since it was last metered, in their order."""
    rows = StatusSpan.objects.filter(replica=replica)
    if replica.metered_until is not None:
        first = rows.filter(began_at__lte=replica.metered_until).aggregate(last=Max("pk"))["last"]
        rows = rows.filter(pk__gte=first) if first is not None else rows
    found = list(rows.order_by("pk").values_list("status", "began_at"))
    if not found and replica.ready_at is not None:
        # Of before statuses were kept: it served.
        return [(ReplicaStatus.READY, replica.ready_at)]
    return found


def answerable_seconds(replica: Replica, *, until: dt.datetime) -> int:
    """Whole seconds until then in which it could answer, or could have after a thaw, by its statuses alone."""
    spans = list(StatusSpan.objects.filter(replica=replica).order_by("pk").values_list("status", "began_at"))
    start = replica_states.first_moment(spans)
    if start is None:
        return max(0, (until - replica.ready_at) // dt.timedelta(seconds=1)) if replica.ready_at else 0
    found = replica_states.pieces(spans, (), start=start, until=until)
    return sum(
        (one.ended_at - one.started_at) // dt.timedelta(seconds=1) for one in found if one.state not in ("pull", "load")
    )


def forget(*, now: dt.datetime) -> int:
    """Removes the statuses of replicas that ended long ago and are metered; how many."""
    over = Q(replica__ended_at__lt=now - KEPT, replica__metered_until__gte=F("replica__ended_at"))
    old = StatusSpan.objects.filter(over).values_list("pk", flat=True)[:5000]
    return StatusSpan.objects.filter(pk__in=list(old)).delete()[0]


def device_class(replica_id: str) -> str:
    """What the replica holds now, as prices and costs name it: ``NVIDIA H200``, ``2 x NVIDIA H200``, ``cpu`` where it
    holds room and no device. Kinds are joined by ``+``. What it held when it was last metered, where it holds nothing
    any more; empty where that is not known."""
    reservation = fleet.reservation_of(replica_id=replica_id)
    if reservation is None:
        last = ReplicaUsage.objects.filter(replica_id=replica_id).order_by("-started_at")
        return last.values_list("device_class", flat=True).first() or ""
    counts: dict[str, int] = {}
    for name in reservation.devices.order_by("name").values_list("name", flat=True):
        counts[name] = counts.get(name, 0) + 1
    for name in reservation.shares.order_by("device__name").values_list("device__name", flat=True):
        counts[f"share of {name}"] = counts.get(f"share of {name}", 0) + 1
    return " + ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())[:80] or "cpu"


def _busy(replica: Replica) -> list[tuple[dt.datetime, dt.datetime]]:
    """When any gateway had a request in flight at the replica."""
    route_id = routes.route_id(replica.deployment_id, replica.model_key)
    found = []
    for busy in RouteActivity.objects.filter(route_id=route_id).values_list("busy", flat=True):
        for begin, end in busy.get(replica.pk, ()):
            found.append((_EPOCH + dt.timedelta(microseconds=int(begin)), _EPOCH + dt.timedelta(microseconds=int(end))))
    return found
