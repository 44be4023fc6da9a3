"""Replica seconds: whole seconds that replicas were ready, written down as they pass."""

import datetime as dt

from django.db import transaction
from django.db.models import F, Q

from moorage.deployments.models import Replica
from moorage.fleet import queries as fleet
from moorage.metering import services as metering


def record_all(*, now: dt.datetime) -> int:
    """Meters every replica up to ``now`` or its end; returns the seconds that are metered anew. Safe to repeat."""
    written = 0
    unmetered = Q(metered_until=None) | Q(ended_at=None) | Q(metered_until__lt=F("ended_at"))
    rows = Replica.objects.filter(unmetered, ready_at__isnull=False).select_related("deployment")
    for replica in rows.iterator():
        assert replica.ready_at is not None
        start = replica.metered_until or replica.ready_at
        end = min(replica.ended_at or now, now)
        if end > start:
            with transaction.atomic():
                seconds = metering.record_replica_time(
                    organization_id=replica.deployment.organization_id,
                    deployment_id=replica.deployment_id,
                    revision_id=replica.revision_id,
                    replica_id=replica.pk,
                    model_key=replica.model_key,
                    started_at=start,
                    ended_at=end,
                    device_class=device_class(replica.pk),
                )
                # The fraction of a second at its end is not billed.
                is_over = replica.ended_at is not None and replica.ended_at <= now
                until = replica.ended_at if is_over else start + dt.timedelta(seconds=seconds)
                Replica.objects.filter(pk=replica.pk).update(metered_until=until)
            written += seconds
        elif replica.ended_at is not None:
            Replica.objects.filter(pk=replica.pk).update(metered_until=replica.ended_at)
    return written


def device_class(replica_id: str) -> str:
    """What the replica holds now, as prices and costs name it: ``NVIDIA H200``, ``2 x NVIDIA H200``, ``cpu`` where it
    holds room and no device; empty where it holds nothing any more. Kinds are joined by ``+``."""
    reservation = fleet.reservation_of(replica_id=replica_id)
    if reservation is None:
        return ""
    counts: dict[str, int] = {}
    for name in reservation.devices.order_by("name").values_list("name", flat=True):
        counts[name] = counts.get(name, 0) + 1
    return " + ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())[:80] or "cpu"
