"""The verbs of metering: replica time is noted here; requests arrive through the shipper."""

import datetime as dt

from django.db import connection, transaction
from django.db.models import Max

from moorage.kernel import clock
from moorage.metering import usage_table
from moorage.metering.models import ReplicaUsage


@transaction.atomic
def record_replica_time(
    *,
    organization_id: str,
    deployment_id: str,
    revision_id: str,
    replica_id: str,
    model_key: str,
    started_at: dt.datetime,
    ended_at: dt.datetime,
    state: str = "",
    device_class: str = "",
) -> int:
    """Notes that a replica was ready during ``[started_at, ended_at)`` and returns the whole seconds now metered
    from ``started_at`` on.

    Keep ``metered_until = started_at + timedelta(seconds=<returned>)`` in the same transaction and begin there the
    next time: the fraction of a second is carried, not dropped. A second call with the same or an overlapping
    beginning notes only what is new and still returns how far the time is metered. ``state`` (pull, load, frozen, idle,
    busy) and ``device_class`` are for prices that differ by them; empty where they are not known.
    """
    assert started_at.tzinfo is not None and ended_at.tzinfo is not None, "times are aware"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"replica_usage:{replica_id}"])
    known = ReplicaUsage.objects.filter(replica_id=replica_id).aggregate(until=Max("ended_at"))["until"]
    begin = started_at if known is None else max(started_at, known)
    seconds = max(0, (ended_at - begin) // dt.timedelta(seconds=1))
    end = begin + dt.timedelta(seconds=seconds)
    if seconds:
        ReplicaUsage.objects.create(
            organization_id=organization_id,
            deployment_id=deployment_id,
            revision_id=revision_id,
            replica_id=replica_id,
            model_key=model_key,
            state=state,
            device_class=device_class,
            seconds=seconds,
            started_at=begin,
            ended_at=end,
            recorded_at=clock.now(),
        )
    return (end - started_at) // dt.timedelta(seconds=1)


def mark_shipped(*, until: dt.datetime) -> None:
    """Notes that every request that ended before ``until`` is in usage_event. The shipper's word; never moves back."""
    usage_table.mark_complete(until)
