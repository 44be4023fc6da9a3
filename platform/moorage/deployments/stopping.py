"""The end of one replica: its container first, its room after."""

from django.conf import settings

from moorage.deployments.driver import Driver
from moorage.deployments.last_words import save_log
from moorage.deployments.models import ReplicaStatus
from moorage.deployments.reasons import Reason
from moorage.deployments.starting import EPOCH
from moorage.fleet import services as fleet
from moorage.fleet.runtime import container_name
from moorage.kernel import fault

R = ReplicaStatus


def stop(driver: Driver) -> None:
    """Steps: 1. keep the last lines; 2. the container goes; 3. only then its room."""
    replica = driver.replica
    if replica.container_name:
        save_log(replica, driver.runtime)
    # By the one name that it can have: a database that crashed may have forgotten that it was made.
    name = container_name(instance=settings.MOORAGE_INSTANCE, replica_id=replica.pk, epoch=EPOCH)
    driver.runtime.remove(replica.container_name or name)
    fault.point("after_remove")
    fleet.release(replica_id=replica.pk)
    fault.point("after_release")
    driver.move(R.GONE, Reason.REMOVED)
