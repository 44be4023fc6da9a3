"""The short way to a place: one statement, for a replica whose place is known and that takes nobody's turn.

It decides nothing that :func:`moorage.fleet.services.reserve` would not decide: whatever is not plain (a device, a
taint, somebody who waits, a second node to choose from) is left to that one. The node's row is locked by its own
update, whose condition is read again behind the lock, and the node's CHECK stands behind both.
"""

from typing import Final

from django.db import IntegrityError, connection
from django.db.models import JSONField

from moorage.fleet import database_clock
from moorage.fleet.models import Reservation
from moorage.fleet.placement import Demand
from moorage.fleet.snapshot import ASKS_AGAIN, SILENT_AFTER

_TAKE: Final = """
    WITH place AS (
        UPDATE node SET used_memory_bytes = used_memory_bytes + %(memory)s, used_cpu_millis = used_cpu_millis + %(cpu)s
        WHERE {which} AND NOT is_drained AND NOT is_emulated AND seen_at > %(seen_after)s
            AND memory_bytes - used_memory_bytes >= %(memory)s AND taints = '{{}}' AND labels @> %(labels)s
            AND NOT EXISTS (SELECT FROM waiting WHERE asked_at > %(asked_after)s)
            AND NOT EXISTS (SELECT FROM reservation WHERE replica_id = %(replica)s)
        RETURNING id, name
    )
    INSERT INTO reservation
        (replica_id, node_id, organization_id, memory_bytes, cpu_millis, priority, why, created_at)
    SELECT %(replica)s, id, %(organization)s, %(memory)s, %(cpu)s, %(priority)s,
        left(replace(%(why)s, '(node)', name), 300), %(now)s
    FROM place RETURNING node_id, why
"""
_THIS: Final = "id = %(node)s"
_THE_ONLY: Final = "NOT EXISTS (SELECT FROM node other WHERE other.id <> node.id)"


def take(*, replica_id: str, organization_id: str, demand: Demand, node_id: str) -> Reservation | None:
    """Room for a replica on the node where its container is, or (``node_id`` empty) on the only node that there is.
    None where it is not to be had this way, or is held already: ask :func:`moorage.fleet.services.reserve`."""
    if demand.wants_device:
        return None
    now = database_clock.now()
    labels = JSONField().get_db_prep_save(dict(demand.labels), connection)
    why = "Its container is on (node)." if node_id else "(node) is the only node, and has room."
    values = {
        "replica": replica_id,
        "node": node_id,
        "organization": organization_id,
        "memory": demand.memory_bytes,
        "cpu": demand.cpu_millis,
        "priority": demand.priority,
        "labels": labels,
        "why": why,
        "now": now,
        "seen_after": now - SILENT_AFTER,
        "asked_after": now - ASKS_AGAIN,
    }
    try:
        with connection.cursor() as cursor:
            cursor.execute(_TAKE.format(which=_THIS if node_id else _THE_ONLY), values)
            row = cursor.fetchone()
    except IntegrityError:
        # Another driver of the same replica was quicker.
        return None
    if row is None:
        return None
    return Reservation(
        replica_id=replica_id,
        node_id=row[0],
        organization_id=organization_id,
        memory_bytes=demand.memory_bytes,
        cpu_millis=demand.cpu_millis,
        priority=demand.priority,
        why=row[1],
    )
