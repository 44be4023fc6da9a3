"""Where the figures of one request come from: who counted, and which gateway's journal brought them."""

import dataclasses
import datetime as dt

from moorage.accounts.models import GatewayWorker
from moorage.metering.models import JournalSegment, ShippedBoot, UsageEvent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The journal behind a request. A segment that is shipped is deleted; its boot's id stays with the request."""

    request_id: str
    #: engine | engine_running | gateway | none
    source: str
    is_disputed: bool
    #: The gateway worker that metered it: the name of its journal. Empty for usage of before it was kept.
    boot_id: str
    worker_started_at: dt.datetime | None
    worker_heartbeat_at: dt.datetime | None
    #: When all of the worker's journal was shipped; None while it lives.
    shipped_at: dt.datetime | None
    #: Segments of the worker that the shipper is reading, with the offset it has committed.
    segments: tuple[tuple[str, int], ...]
    recorded_at: dt.datetime


def provenance(event: UsageEvent) -> Provenance:
    """Where ``event`` comes from. For administrators alone."""
    boot_id = event.boot_id
    worker = GatewayWorker.objects.filter(pk=boot_id).first() if boot_id else None
    shipped = ShippedBoot.objects.filter(pk=boot_id).values_list("shipped_at", flat=True).first() if boot_id else None
    rows = JournalSegment.objects.filter(name__startswith=f"{boot_id}-").order_by("name") if boot_id else []
    return Provenance(
        request_id=event.request_id,
        source=event.source,
        is_disputed=event.is_disputed,
        boot_id=boot_id,
        worker_started_at=worker.started_at if worker else None,
        worker_heartbeat_at=worker.heartbeat_at if worker else None,
        shipped_at=shipped,
        segments=tuple((row.name, row.offset) for row in rows),
        recorded_at=event.recorded_at,
    )
