"""Both ways of being left behind: a container without a replica, and room held for no replica."""

import datetime as dt
import logging
from typing import Final

from moorage.deployments.models import Replica, ReplicaStatus
from moorage.fleet import queries as fleet_queries
from moorage.fleet import services as fleet
from moorage.fleet.runtime import ContainerRuntime
from moorage.kernel import clock

log = logging.getLogger(__name__)

#: A container younger than this may belong to a creation that is still being written down.
_YOUNG: Final = dt.timedelta(seconds=20)


def reap(*, runtime: ContainerRuntime) -> tuple[str, ...]:
    """Removes containers of this instance that no replica has, and releases their room; returns what was removed.

    Raises RuntimeUnreachable, and has changed nothing then: what cannot be asked is not absent.
    """
    containers = runtime.list()
    known = frozenset(
        Replica.objects.filter(pk__in=[container.replica_id for container in containers])
        .exclude(status=ReplicaStatus.GONE)
        .values_list("pk", flat=True)
    )
    removed = []
    now = clock.now()
    for container in containers:
        if container.replica_id in known:
            continue
        if container.started_at is not None and now - container.started_at < _YOUNG:
            continue
        runtime.remove(container.name)
        log.warning("orphan_removed container=%s", container.name)
        removed.append(container.name)
    held = fleet_queries.reserved_replica_ids()
    living = frozenset(
        Replica.objects.filter(pk__in=held).exclude(status=ReplicaStatus.GONE).values_list("pk", flat=True)
    )
    for replica_id in held - living:
        fleet.release(replica_id=replica_id)
        log.warning("orphan_reservation_released replica=%s", replica_id)
    return tuple(removed)
