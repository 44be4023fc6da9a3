"""Room for a replica that is wanted, from those that nobody calls."""

import logging
from collections.abc import Iterable

from moorage.deployments import leases, resting, states
from moorage.deployments.driver import Driver, LeaseLost
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.deployments.reasons import Reason
from moorage.deployments.services import ring
from moorage.fleet.runtime import ContainerRuntime

log = logging.getLogger(__name__)

R = ReplicaStatus


def make_room(replica_ids: Iterable[str], *, runtime: ContainerRuntime) -> bool:
    """Puts these replicas away, which the fleet has chosen: a frozen one stops now, a ready one drains first.
    Whether room is free now; raises RuntimeUnreachable."""
    stopped = []
    for replica in Replica.objects.filter(pk__in=replica_ids).order_by("pk"):
        if replica.status == R.READY:
            states.move_replica(replica, to=R.DRAINING, reason=Reason.MEMORY_NEEDED)
            ring(replica.deployment_id)
        else:
            stopped.append(_stop(replica.pk, runtime))
    return any(stopped)


def _stop(replica_id: str, runtime: ContainerRuntime) -> bool:
    epoch = leases.claim(Replica, replica_id)
    if epoch is None:
        return False
    try:
        replica = Replica.objects.select_related("revision", "deployment").get(pk=replica_id)
        if replica.status != R.FROZEN or replica.wake_at is not None:
            return False
        driver = Driver(replica=replica, epoch=epoch, runtime=runtime)
        driver.move(R.STOPPED, Reason.MEMORY_NEEDED)
        resting.stop(driver)
    except LeaseLost:
        return False
    finally:
        leases.give_back(Replica, replica_id, epoch)
    log.info("gave_way replica=%s", replica_id)
    return True
