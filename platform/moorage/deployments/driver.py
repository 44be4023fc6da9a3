"""One drive of one replica under one lease: every write of it is fenced."""

import dataclasses
import datetime as dt
import time
from typing import Any, Final

from moorage.deployments import leases, states
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
    #: Since when somebody waits for it, and when each stage of its coming back was passed.
    since: dt.datetime | None = None
    marks: dict[str, dt.datetime] = dataclasses.field(default_factory=dict)
    #: Where it came back from, once it has.
    came_from: Tier | None = None

    @property
    def pin(self) -> Pin:
        """What the replica serves."""
        return Pin.from_json(self.replica.revision.pins[self.replica.model_key])

    def mark(self, stage: str) -> None:
        """A stage of its coming back is passed."""
        self.marks[stage] = clock.now()

    def move(self, to: ReplicaStatus, reason: Reason, detail: str = "", **fields: Any) -> None:
        """A guarded move; LeaseLost if the row is not as this driver knows it."""
        if not states.move_replica(self.replica, to=to, reason=reason, detail=detail, epoch=self.epoch, **fields):
            raise LeaseLost

    def record(self, **fields: object) -> None:
        """A guarded write without a move."""
        rows = Replica.objects.filter(pk=self.replica.pk, epoch=self.epoch, status=self.replica.status)
        if not rows.update(**fields):
            raise LeaseLost
        for name, value in fields.items():
            setattr(self.replica, name, value)

    def check(self) -> None:
        """Raises LeaseLost where it is."""
        if not leases.renew(Replica, self.replica.pk, self.epoch):
            raise LeaseLost

    def keep(self) -> None:
        """Renews the lease when it is time, and notices that the replica is wanted no more."""
        if time.monotonic() - self.renewed_at < _RENEW_SECONDS:
            return
        self.renewed_at = time.monotonic()
        if not leases.renew(Replica, self.replica.pk, self.epoch):
            raise LeaseLost
        if Replica.objects.values_list("status", flat=True).get(pk=self.replica.pk) != self.replica.status:
            raise LeaseLost
