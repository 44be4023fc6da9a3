"""The life of one replica: placed, pulled, started, ready; asleep and awake again; and at its end stopped and gone.

Whoever calls :func:`drive` holds the replica's lease while it works and may die at any instruction: everything it has
done is in the row or in the runtime, and the next caller goes on from there. Nothing here runs inside a transaction.
"""

import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from moorage.deployments import awakenings, leases, placing, pulling, resting, starting, states, stopping, waking
from moorage.deployments.driver import Driver, LeaseLost
from moorage.deployments.lease_keeper import KEEPER, Keeper
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.deployments.reasons import Reason
from moorage.deployments.tiers import Tier
from moorage.fleet import database_clock, isolation_rows
from moorage.fleet import errors as fleet_errors
from moorage.fleet.runtime import ContainerRuntime

log = logging.getLogger(__name__)

R = ReplicaStatus
#: For so long the first token has the machine to itself: what is written down of a wake, nobody waits for.
_HUSH_SECONDS: Final = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Taken:
    """A replica whose lease the caller has, with its revision and its deployment."""

    replica: Replica
    epoch: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """Somebody waits for the replica, since then; ``when_ready`` tells them, at the moment that it can serve, unless
    ``route`` has told what its route becomes and nothing has come in between."""

    since: dt.datetime
    marks: Mapping[str, dt.datetime]
    when_ready: Callable[[Replica], None]
    route: Callable[[Replica], states.RouteChange | None] | None = None


def drive(
    replica_id: str, *, runtime: ContainerRuntime, wish: Wish | None = None, keeper: Keeper = KEEPER
) -> ReplicaStatus | None:
    """Takes a replica as far as it goes now. Returns where it stands, or None if somebody else is at it."""
    epoch = leases.claim(Replica, replica_id)
    if epoch is None:
        return None
    replica = Replica.objects.select_related("revision", "deployment__target").get(pk=replica_id)
    return drive_taken(Taken(replica=replica, epoch=epoch), runtime=runtime, wish=wish, keeper=keeper)


def drive_taken(
    taken: Taken, *, runtime: ContainerRuntime, wish: Wish | None = None, keeper: Keeper = KEEPER
) -> ReplicaStatus | None:
    """The same, by whoever has its lease already; it is given back."""
    replica, epoch = taken.replica, taken.epoch
    driver = Driver(replica=replica, epoch=epoch, runtime=runtime)
    if wish is not None:
        driver.since, driver.marks, driver.route = wish.since, {**wish.marks}, wish.route
    try:
        with keeper.keeping(Replica, replica.pk, epoch) as driver.hold:
            _steps(driver)
        came_back = _announce(driver, wish)
    except LeaseLost:
        log.info("replica_lease_lost replica=%s", replica.pk)
        return None
    except fleet_errors.RuntimeUnreachable as error:
        # Nothing is known, so nothing is changed; a sweep comes back to it.
        log.warning("runtime_unreachable replica=%s error=%s", replica.pk, error)
        return ReplicaStatus(replica.status)
    finally:
        if not driver.is_announced:
            leases.give_back(Replica, replica.pk, epoch)
    if came_back is not None:
        _write_down(driver, came_back, is_waited_for=wish is not None)
    if replica.wake_at is None and _is_wanted_awake(replica):
        return drive(replica.pk, runtime=runtime, wish=wish, keeper=keeper)
    return ReplicaStatus(replica.status)


def _steps(driver: Driver) -> None:
    if driver.replica.status in {R.READY, R.DRAINING}:
        waking.let_run(driver)
        return
    while True:
        before = driver.replica.status
        match ReplicaStatus(before):
            case R.PENDING:
                placing.place(driver)
            case R.PLACED:
                driver.move(R.PULLING, Reason.PULLING)
            case R.PULLING:
                pulling.pull(driver)
            case R.STARTING:
                starting.start(driver)
            case R.FROZEN | R.STOPPED if driver.replica.wake_at is not None:
                waking.wake(driver)
            case R.FROZEN:
                resting.freeze(driver)
            case R.STOPPED:
                resting.stop(driver)
            case R.STOPPING:
                stopping.stop(driver)
            case _:
                return
        if driver.replica.status == before:
            return


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Return:
    """A replica can serve again, or for the first time."""

    tier: Tier
    since: dt.datetime
    at: dt.datetime


def _announce(driver: Driver, wish: Wish | None) -> _Return | None:
    """Those who wait are told. None where it has not come to serve now."""
    if driver.came_from is None or driver.since is None:
        return None
    ready = database_clock.now()
    driver.mark("ready")
    if wish is not None:
        if not driver.is_announced:
            wish.when_ready(driver.replica)
        driver.mark("routed")
    return _Return(tier=driver.came_from, since=driver.since, at=ready)


def _write_down(driver: Driver, back: _Return, *, is_waited_for: bool) -> None:
    """What nobody waits for: what its container really got, and how long it took."""
    if is_waited_for:
        time.sleep(_HUSH_SECONDS)
    if back.tier != Tier.FROZEN:
        isolation_rows.read_back(
            replica_id=driver.replica.pk, container_name=driver.replica.container_name, runtime=driver.runtime
        )
    awakenings.record(driver.replica, back.tier, since=back.since, marks=driver.marks, now=back.at)


def _is_wanted_awake(replica: Replica) -> bool:
    """The wish may have come while its driver was about to put it to sleep, too late for that one to see."""
    return replica.status in states.ASLEEP and Replica.objects.filter(pk=replica.pk, wake_at__isnull=False).exists()
