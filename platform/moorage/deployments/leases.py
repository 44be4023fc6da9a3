"""Leases on rows: who works on a deployment or a replica now. The database's clock decides, never a host's.

A claim raises the row's epoch; every write of the holder carries it, so that a holder whose lease ran out changes
nothing. A lost lease is not an error: somebody else has taken over.
"""

import datetime as dt
from typing import Final

from django.db.models import F, Q
from django.db.models.functions import Now

from moorage.deployments.models import Deployment, Replica

LEASE: Final = dt.timedelta(seconds=30)

Row = type[Deployment] | type[Replica]


def claim(model: Row, pk: str) -> int | None:
    """The epoch of a new lease, or None while somebody holds one."""
    rows = model.objects.filter(Q(lease_until=None) | Q(lease_until__lt=Now()), pk=pk)
    if not rows.update(lease_until=Now() + LEASE, epoch=F("epoch") + 1):
        return None
    # The holder alone raises it until the lease ends, so reading it back is safe unless the lease has just been lost.
    return model.objects.values_list("epoch", flat=True).get(pk=pk)


def renew(model: Row, pk: str, epoch: int) -> bool:
    """Holds it for another LEASE; False if it is lost."""
    return bool(model.objects.filter(pk=pk, epoch=epoch).update(lease_until=Now() + LEASE))


def give_back(model: Row, pk: str, epoch: int) -> None:
    """Ends the lease, if it is still held."""
    model.objects.filter(pk=pk, epoch=epoch).update(lease_until=None)
