"""The verbs of metering: replica time is noted here; requests arrive through the shipper."""

import dataclasses
import datetime as dt
from collections.abc import Sequence

from django.db import connection, transaction

from moorage.kernel import clock
from moorage.metering import replica_seconds, usage_table
from moorage.metering.models import ReplicaUsage
from moorage.metering.replica_seconds import Piece


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
    """Notes what a replica did during ``[started_at, ended_at)`` and returns the whole seconds now metered from
    ``started_at`` on.

    Keep ``metered_until = started_at + timedelta(seconds=<returned>)`` in the same transaction and begin there the
    next time: the fraction of a second is carried, not dropped. A second call with the same or an overlapping
    beginning notes only what is new and still returns how far the time is metered. ``state`` (pull, load, frozen, idle,
    busy) and ``device_class`` are for prices that differ by them; empty where they are not known.
    """
    until = record_replica_pieces(
        organization_id=organization_id,
        deployment_id=deployment_id,
        revision_id=revision_id,
        replica_id=replica_id,
        model_key=model_key,
        pieces=[Piece(state=state, started_at=started_at, ended_at=ended_at)],
        device_class=device_class,
    )
    return max(0, (until - started_at) // dt.timedelta(seconds=1))


@transaction.atomic
def record_replica_pieces(
    *,
    organization_id: str,
    deployment_id: str,
    revision_id: str,
    replica_id: str,
    model_key: str,
    pieces: Sequence[Piece],
    device_class: str = "",
) -> dt.datetime:
    """Notes pieces of a replica's time, in their order and apart from one another; returns until when it is metered.

    What lies before the last moment that is metered already is noted once: it is left out here.
    """
    assert pieces and all(one.started_at.tzinfo and one.ended_at.tzinfo for one in pieces), "times are aware"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"replica_usage:{replica_id}"])
    # Intervals do not overlap: the last to begin is the last to end, and the index leads to it.
    rows = ReplicaUsage.objects.filter(replica_id=replica_id).order_by("-started_at")
    known = rows.values_list("ended_at", flat=True).first()
    until = max(known, pieces[0].started_at) if known is not None else pieces[0].started_at
    made, now = [], clock.now()
    for piece in pieces:
        for row in replica_seconds.rows(piece, after=known):
            made.append(
                ReplicaUsage(
                    organization_id=organization_id,
                    deployment_id=deployment_id,
                    revision_id=revision_id,
                    replica_id=replica_id,
                    model_key=model_key,
                    device_class=device_class,
                    recorded_at=now,
                    **dataclasses.asdict(row),
                )
            )
            until = row.started_at + dt.timedelta(seconds=row.seconds)
    ReplicaUsage.objects.bulk_create(made)
    return until


def mark_shipped(*, until: dt.datetime) -> None:
    """Notes that every request that ended before ``until`` is in usage_event. The shipper's word; never moves back."""
    usage_table.mark_complete(until)
