"""Room for one replica: what it asks for, who gives way to it, and what it is told when there is none."""

from moorage.deployments import giving_way, idle_replicas, pulling, takeover
from moorage.deployments.driver import Driver
from moorage.deployments.models import ReplicaStatus
from moorage.deployments.pins import Pin
from moorage.deployments.reasons import Reason
from moorage.fleet import errors as fleet_errors
from moorage.fleet import return_place
from moorage.fleet import services as fleet
from moorage.fleet.models import Reservation
from moorage.fleet.placement import PRIORITIES, Demand
from moorage.kernel import fault

R = ReplicaStatus


def demand_of(pin: Pin) -> Demand:
    """What a replica of ``pin`` needs of a node."""
    return Demand(
        memory_bytes=pin.memory_bytes,
        cpu_millis=pin.cpu_millis,
        gpus=0 if pin.gpu_share_bytes else pin.gpus,
        is_all_gpus=pin.is_all_gpus,
        gpu_total_bytes=pin.gpu_total_bytes,
        gpu_share_bytes=pin.gpu_share_bytes,
        heads=pin.heads,
        priority=PRIORITIES[pin.priority],
        labels=pin.node_labels,
        digest=pin.digest,
    )


def reserve(driver: Driver) -> Reservation:
    """Room for the driver's replica; what it holds already it keeps. Where there is none, those give way that the fleet
    names of the replicas nobody calls. Raises NoCapacity."""
    replica, demand = driver.replica, demand_of(driver.pin)
    organization_id = replica.deployment.organization_id
    short = return_place.take(
        replica_id=replica.pk, organization_id=organization_id, demand=demand, node_id=replica.node_id
    )
    if short is not None:
        return short
    try:
        return fleet.reserve(
            replica_id=replica.pk,
            organization_id=organization_id,
            demand=demand,
            idle=idle_replicas.nobody_calls(below=demand.priority),
        )
    except fleet_errors.RoomIsIdle as found:
        if not giving_way.make_room(found.preempts, asker=replica, runtime=driver.runtime):
            raise
    return fleet.reserve(replica_id=replica.pk, organization_id=organization_id, demand=demand)


def place(driver: Driver) -> None:
    """Pending: finds it room, or says why there is none. What only waits for the one that it replaces has its weights
    brought meanwhile, so that the place changes hands quickly."""
    if takeover.must_wait(driver.replica):
        _wait_its_turn(driver)
        return
    try:
        reservation = reserve(driver)
    except fleet_errors.NoCapacity as error:
        if takeover.would_have_room(driver.replica, demand_of(driver.pin)):
            _wait_its_turn(driver)
        else:
            driver.move(R.PENDING, Reason.NO_CAPACITY, error.message)
        return
    fault.point("after_reserve")
    driver.mark("placed")
    driver.move(R.PLACED, Reason.PLACED, reservation.why, node_id=reservation.node_id, engine=driver.pin.engine)


def _wait_its_turn(driver: Driver) -> None:
    if pulling.bring(driver):
        driver.move(R.PENDING, Reason.ROOM_HELD)
