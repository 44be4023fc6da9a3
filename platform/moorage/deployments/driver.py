"""One drive of one replica under one lease: every write of it is fenced."""

import contextlib
import dataclasses
import datetime as dt
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from django.db import connection, transaction

from moorage.artifacts.models import Artifact
from moorage.deployments import leases, states
from moorage.deployments.lease_keeper import Hold
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.deployments.pins import Pin
from moorage.deployments.reasons import Reason
from moorage.deployments.tiers import Tier
from moorage.fleet.runtime import ContainerRuntime
from moorage.kernel import clock

_RENEW_SECONDS: Final = 10


class LeaseLost(Exception):
    """Somebody else drives this replica now, or it is wanted no more."""


@dataclasses.dataclass(kw_only=True)
class Driver:
    """Whoever takes a replica on, and what it does it with."""

    replica: Replica
    epoch: int
    runtime: ContainerRuntime
    renewed_at: float = dataclasses.field(default_factory=time.monotonic)
    #: What keeps the lease during a call that lasts.
    hold: Hold | None = None
    #: Since when somebody waits for it, and when each stage of its coming back was passed.
    since: dt.datetime | None = None
    marks: dict[str, dt.datetime] = dataclasses.field(default_factory=dict)
    #: Where it came back from, once it has.
    came_from: Tier | None = None
    #: What its route becomes when it is ready; None: others tell the gateways, or there is nothing to tell.
    route: Callable[[Replica], states.RouteChange | None] | None = None
    #: Its route was written with its becoming ready, and the lease given back.
    is_announced: bool = False

    @property
    def pin(self) -> Pin:
        """What the replica serves."""
        return Pin.from_json(self.replica.revision.pins[self.replica.model_key])

    @functools.cached_property
    def artifact(self) -> Artifact:
        """Its weights, as they were resolved."""
        return Artifact.objects.select_related("organization").get(pk=self.pin.artifact_id)

    def mark(self, stage: str) -> None:
        """A stage of its coming back is passed."""
        self.marks[stage] = clock.now()

    def move(self, to: ReplicaStatus, reason: Reason, detail: str = "", **fields: Any) -> None:
        """A guarded move; LeaseLost if the row is not as this driver knows it."""
        if not states.move_replica(self.replica, to=to, reason=reason, detail=detail, epoch=self.epoch, **fields):
            raise LeaseLost

    def serve(self, reason: Reason, detail: str = "") -> None:
        """Ready, and said so to the gateways in the same write where that can be; LeaseLost as with any move."""
        change = self.route(self.replica) if self.route is not None else None
        if change is None:
            self.move(ReplicaStatus.READY, reason, detail)
            return
        is_moved, self.is_announced = states.bring_to_service(
            self.replica, reason=reason, detail=detail, epoch=self.epoch, route=change
        )
        if not is_moved:
            raise LeaseLost

    def record(self, **fields: object) -> None:
        """A guarded write without a move."""
        rows = Replica.objects.filter(pk=self.replica.pk, epoch=self.epoch, status=self.replica.status)
        if not rows.update(**fields):
            raise LeaseLost
        for name, value in fields.items():
            setattr(self.replica, name, value)

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """A transaction in which nobody else takes the lease; LeaseLost where somebody has."""
        with transaction.atomic():
            mine = Replica.objects.select_for_update(no_key=True).filter(pk=self.replica.pk, epoch=self.epoch)
            if mine.first() is None:
                raise LeaseLost
            yield

    def keep(self) -> None:
        """Renews the lease when it is time, and notices that the replica is wanted no more."""
        if time.monotonic() - self.renewed_at < _RENEW_SECONDS:
            return
        self.renewed_at = time.monotonic()
        if self.hold is not None:
            self.hold.show()
        if not leases.renew(Replica, self.replica.pk, self.epoch):
            raise LeaseLost
        if Replica.objects.values_list("status", flat=True).get(pk=self.replica.pk) != self.replica.status:
            raise LeaseLost


def keep_what_is_written() -> None:
    """All that was written until now is on the database's disk, also where the session does not wait for it, as the
    waker's: called before a container is made or started, so that none runs in room that nobody knows of."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, %s, '')", ["moorage"]
        )
