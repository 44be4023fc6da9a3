"""A replica put to sleep: its container paused, or its process ended and its room given back.

The row says first where it should be, and its driver makes it so: a driver that dies on the way leaves a frozen replica
that runs, or a stopped one that holds room, and the next look has it driven again.
"""

import logging
from pathlib import Path

from moorage.deployments.driver import Driver
from moorage.deployments.last_words import save_log
from moorage.deployments.models import ReplicaStatus
from moorage.deployments.reasons import Reason
from moorage.fleet import engine_sleep
from moorage.fleet import errors as fleet_errors
from moorage.fleet import services as fleet
from moorage.fleet.engines import Engine
from moorage.kernel import fault

log = logging.getLogger(__name__)

R = ReplicaStatus


def freeze(driver: Driver) -> None:
    """Frozen: its container is paused, and its room stays its own. An engine that can puts its weights away first."""
    replica = driver.replica
    if engine_sleep.can_sleep(Engine(driver.pin.engine), tuple(replica.argv)):
        try:
            engine_sleep.sleep(Path(replica.socket))
        except fleet_errors.EngineDidNotSleep as error:
            # Frozen it is nevertheless; only its device's memory is not free.
            log.warning("engine_did_not_sleep replica=%s error=%s", replica.pk, error.message)
    try:
        driver.runtime.pause(replica.container_name)
    except fleet_errors.ContainerMissing:
        driver.move(R.STOPPING, Reason.ENDED_ASLEEP)


def stop(driver: Driver) -> None:
    """Stopped: its process ends, and only then is its room given back."""
    replica = driver.replica
    try:
        driver.runtime.stop(replica.container_name)
    except fleet_errors.ContainerMissing:
        driver.move(R.STOPPING, Reason.ENDED_ASLEEP)
        return
    save_log(replica, driver.runtime)
    fault.point("after_rest")
    # Nobody else releases or reserves for it while this lease is held.
    with driver.holding():
        fleet.release(replica_id=replica.pk)
