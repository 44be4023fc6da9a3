"""A replica that sleeps, brought back to service."""

from pathlib import Path

from moorage.deployments import placing
from moorage.deployments.driver import Driver, durably
from moorage.deployments.models import ReplicaStatus
from moorage.deployments.reasons import Reason
from moorage.deployments.tiers import Tier
from moorage.fleet import engine_sleep
from moorage.fleet import errors as fleet_errors
from moorage.fleet import queries as fleet_queries
from moorage.fleet.engines import Engine
from moorage.fleet.models import Reservation
from moorage.kernel import fault

R = ReplicaStatus


def wake(driver: Driver) -> None:
    """Brings it back: a frozen one serves at once, a stopped one finds room and starts."""
    if driver.replica.status == R.FROZEN:
        _thaw(driver)
    else:
        _start_again(driver)


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
    try:
        driver.runtime.start(replica.container_name)
    except (fleet_errors.ContainerMissing, fleet_errors.StartFailed) as error:
        driver.move(R.STOPPING, Reason.ENDED_ASLEEP, error.message)
        return
    fault.point("after_start_again")
    driver.mark("started")
    # With it the reservation, without a wait that anybody feels: the engine loads.
    with durably():
        driver.move(R.STARTING, Reason.AWAKE)


def _has_its_devices(driver: Driver, reservation: Reservation) -> bool:
    """Whether they are those that its container was made with."""
    given = str(driver.replica.environment.get("CUDA_VISIBLE_DEVICES", ""))
    if not given and not placing.demand_of(driver.pin).wants_device:
        return True
    return ",".join(fleet_queries.device_vendor_ids(reservation)) == given
