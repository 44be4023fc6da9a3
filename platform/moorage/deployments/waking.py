"""A replica that sleeps, brought back to service."""

import logging
from pathlib import Path

from moorage.deployments import placing
from moorage.deployments.driver import Driver, keep_what_is_written
from moorage.deployments.models import ReplicaStatus
from moorage.deployments.reasons import Reason
from moorage.deployments.tiers import Tier
from moorage.fleet import engine_sleep
from moorage.fleet import errors as fleet_errors
from moorage.fleet import queries as fleet_queries
from moorage.fleet.engines import Engine
from moorage.fleet.models import Reservation
from moorage.kernel import fault

log = logging.getLogger(__name__)

R = ReplicaStatus


def wake(driver: Driver) -> None:
    """Brings it back: a frozen one serves at once, a stopped one finds room and starts."""
    if driver.replica.status == R.FROZEN:
        _thaw(driver)
    else:
        _start_again(driver)


def let_run(driver: Driver) -> None:
    """One that serves runs. Its container is paused only where whoever was about to put it to sleep lost the lease in
    the middle of that call, and somebody else has woken it meanwhile: the runtime knows no epochs."""
    replica = driver.replica
    container = driver.runtime.inspect(replica.container_name)
    if container is None or container.status != "paused":
        return
    try:
        driver.runtime.unpause(replica.container_name)
        if engine_sleep.can_sleep(Engine(driver.pin.engine), tuple(replica.argv)):
            engine_sleep.wake(Path(replica.socket))
    except (fleet_errors.ContainerMissing, fleet_errors.EngineDidNotSleep) as error:
        # The next look sees what ended; one that gives no token is found by its vital signs.
        log.warning("replica_not_let_run replica=%s error=%s", replica.pk, error.message)
        return
    log.warning("replica_let_run replica=%s", replica.pk)


def _thaw(driver: Driver) -> None:
    replica = driver.replica
    try:
        driver.runtime.unpause(replica.container_name)
    except fleet_errors.ContainerMissing:
        driver.move(R.STOPPING, Reason.ENDED_ASLEEP)
        return
    driver.mark("unpaused")
    if engine_sleep.can_sleep(Engine(driver.pin.engine), tuple(replica.argv)):
        try:
            engine_sleep.wake(Path(replica.socket))
        except fleet_errors.EngineDidNotSleep as error:
            driver.move(R.STOPPING, Reason.ENDED_ASLEEP, error.message)
            return
    driver.since = driver.since or replica.wake_at
    driver.came_from = Tier.FROZEN
    fault.point("after_thaw")
    driver.serve(Reason.AWAKE)


def _start_again(driver: Driver) -> None:
    """Steps: 1. room, on the node where its container is; 2. the container starts; 3. a token, as with any other.

    Where its room is taken, or other devices would be its own, its container is of no use: it goes, and a new one is
    made where there is room.
    """
    replica = driver.replica
    try:
        reservation = placing.reserve(driver)
        driver.mark("placed")
    except fleet_errors.NoCapacity as error:
        driver.move(R.STOPPING, Reason.NO_ROOM_TO_WAKE, error.message)
        return
    if reservation.node_id != replica.node_id or not _has_its_devices(driver, reservation):
        driver.move(R.STOPPING, Reason.NO_ROOM_TO_WAKE, "It has room elsewhere.")
        return
    keep_what_is_written()
    try:
        driver.runtime.start(replica.container_name)
    except (fleet_errors.ContainerMissing, fleet_errors.StartFailed) as error:
        driver.move(R.STOPPING, Reason.ENDED_ASLEEP, error.message)
        return
    fault.point("after_start_again")
    driver.mark("started")
    driver.move(R.STARTING, Reason.AWAKE)


def _has_its_devices(driver: Driver, reservation: Reservation) -> bool:
    """Whether they are those that its container was made with."""
    given = str(driver.replica.environment.get("CUDA_VISIBLE_DEVICES", ""))
    if not given and not placing.demand_of(driver.pin).wants_device:
        return True
    return ",".join(fleet_queries.device_vendor_ids(reservation)) == given
