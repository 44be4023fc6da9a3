"""Leases on rows: who works on a deployment or a replica now. The database's clock decides, never a host's.

A claim raises the row's epoch; every write of the holder carries it, so that a holder whose lease ran out changes
nothing. A lost lease is not an error: somebody else has taken over.
"""

import datetime as dt
from typing import Any, Final

from django.db import connection
from django.db.models.functions import Now

from moorage.deployments.models import Deployment, Replica

LEASE: Final = dt.timedelta(seconds=30)

Row = type[Deployment] | type[Replica]

#: One round trip, which Django's own update would not give back the epoch from.
_CLAIM: Final[dict[Row, str]] = {
    Deployment: """
        UPDATE deployment SET epoch = epoch + 1,
            lease_until = statement_timestamp() + make_interval(secs => %(seconds)s)
        WHERE id = %(pk)s AND (lease_until IS NULL OR lease_until < statement_timestamp()) RETURNING epoch
    """,
    Replica: """
        UPDATE replica SET epoch = epoch + 1,
            lease_until = statement_timestamp() + make_interval(secs => %(seconds)s)
        WHERE id = %(pk)s AND (lease_until IS NULL OR lease_until < statement_timestamp()) RETURNING epoch
    """,
}

#: The wish and the lease at once, for whoever is about to fulfil it.
_CLAIM_SLEEPER: Final = """
    UPDATE replica SET wake_at = %(now)s, epoch = epoch + 1,
        lease_until = statement_timestamp() + make_interval(secs => %(seconds)s)
    WHERE id = %(pk)s AND status = %(status)s AND wake_at IS NULL
        AND (lease_until IS NULL OR lease_until < statement_timestamp()) RETURNING epoch
"""


def claim(model: Row, pk: str) -> int | None:
    """The epoch of a new lease, or None while somebody holds one."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM[model], {"pk": pk, "seconds": LEASE.total_seconds()})
        row = cursor.fetchone()
    return int(row[0]) if row is not None else None


def claim_sleeper(replica: Replica, *, now: dt.datetime) -> int | None:
    """Says that ``replica``, which sleeps, is wanted awake since ``now``, and takes the lease with it. The epoch; None,
    with nothing said, while somebody is at it, where it is wanted already, and where it sleeps no more."""
    values: dict[str, Any] = {
        "pk": replica.pk,
        "status": str(replica.status),
        "now": now,
        "seconds": LEASE.total_seconds(),
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM_SLEEPER, values)
        row = cursor.fetchone()
    if row is None:
        return None
    replica.wake_at, replica.epoch = now, int(row[0])
    return replica.epoch


def renew(model: Row, pk: str, epoch: int) -> bool:
    """Holds it for another LEASE; False if it is lost, or given back."""
    held = model.objects.filter(pk=pk, epoch=epoch, lease_until__isnull=False)
    return bool(held.update(lease_until=Now() + LEASE))


def give_back(model: Row, pk: str, epoch: int) -> None:
    """Ends the lease, if it is still held."""
    model.objects.filter(pk=pk, epoch=epoch).update(lease_until=None)
