"""Room for a replica that is wanted, from those that nobody calls. The timelines of both say so."""

import logging
from collections.abc import Iterable

from django.db import transaction

from moorage.accounts.actor import MOORAGE
from moorage.deployments import leases, resting, scaling, states
from moorage.deployments.driver import Driver, LeaseLost
from moorage.deployments.lease_keeper import KEEPER
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.deployments.pins import Pin
from moorage.deployments.reasons import Reason
from moorage.deployments.services import ring
from moorage.fleet.runtime import ContainerRuntime

log = logging.getLogger(__name__)

R = ReplicaStatus


def make_room(replica_ids: Iterable[str], *, asker: Replica, runtime: ContainerRuntime) -> bool:
    """Puts these replicas away for ``asker``, as the fleet has chosen: a frozen one stops now, a ready one drains
    first, and one that is on its way out is waited for. Whether room is free now; raises RuntimeUnreachable."""
    stopped = drained = 0
    why = f"That one has {Pin.from_json(asker.revision.pins[asker.model_key]).priority} priority."
    for replica in Replica.objects.filter(pk__in=replica_ids).select_related("deployment").order_by("pk"):
        if replica.status == R.READY:
            drained += _drain(replica, why)
        elif replica.status == R.FROZEN:
            stopped += _stop(replica.pk, why, runtime)
    if count := stopped + drained:
        who = "One replica that nobody called makes" if count == 1 else f"{count} replicas that nobody called make"
        message = f"{who} way for {asker.model_key}."
        states.note(asker.deployment, code="room_made", message=message, by=MOORAGE)
    return bool(stopped)


@transaction.atomic
def _drain(replica: Replica, why: str) -> bool:
    """It gets no new request, and one fewer is wanted: else another would be made at once, for nobody."""
    # The deployment's row before the replica's, as everywhere.
    ring(replica.deployment_id)
    if not states.move_replica(replica, to=R.DRAINING, reason=Reason.MEMORY_NEEDED, detail=why):
        return False
    scaling.want_one_fewer(replica, why=Reason.MEMORY_NEEDED.explain(why))
    return True


def _stop(replica_id: str, why: str, runtime: ContainerRuntime) -> bool:
    epoch = leases.claim(Replica, replica_id)
    if epoch is None:
        return False
    try:
        replica = Replica.objects.select_related("revision", "deployment").get(pk=replica_id)
        if replica.status != R.FROZEN or replica.wake_at is not None:
            return False
        with KEEPER.keeping(Replica, replica_id, epoch):
            driver = Driver(replica=replica, epoch=epoch, runtime=runtime)
            driver.move(R.STOPPED, Reason.MEMORY_NEEDED, why)
            resting.stop(driver)
    except LeaseLost:
        return False
    finally:
        leases.give_back(Replica, replica_id, epoch)
    log.info("gave_way replica=%s", replica_id)
    return True
