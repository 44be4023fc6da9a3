"""What changes on a deployment's page while somebody looks: where it stands, its replicas, what happened.

The page asks again and again; once nothing moves, an answer that would say the same is not sent.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from moorage.console import deployment_rows, deployment_update
from moorage.deployments import queries, scale_history
from moorage.deployments.models import (
    Deployment,
    DeploymentStatus,
    Replica,
    ReplicaStatus,
    ScaleDecision,
    TimelineEvent,
)
from moorage.deployments.reasons import Reason
from moorage.fleet import isolation_rows

EVENTS_SHOWN: Final = 20
EVENTS_MOST: Final = 500
DECISIONS_SHOWN: Final = 5
_MOVING: Final = frozenset({DeploymentStatus.PROVISIONING, DeploymentStatus.DELETING})
_SETTLED: Final = frozenset({ReplicaStatus.READY, ReplicaStatus.FAILED, ReplicaStatus.GONE})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Live:
    """A deployment at one moment."""

    deployment: Deployment
    replicas: tuple[Replica, ...]
    replicas_ready: int
    replicas_wanted: int
    events: tuple[TimelineEvent, ...]
    has_more_events: bool
    #: What stands around each runner, by replica (fleet/isolation.py).
    isolations: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    #: The last changes of the wanted numbers, newest first.
    decisions: tuple[ScaleDecision, ...] = ()
    #: What its page says of an update.
    update: deployment_update.Shown | None = None

    @property
    def is_moving(self) -> bool:
        """Whether something is under way, so that the clocks on the page run."""
        if self.update is not None and self.update.is_open:
            return True
        return self.deployment.status in _MOVING or any(one.status not in _SETTLED for one in self.replicas)

    @property
    def may_try_again(self) -> bool:
        """Whether something has failed that could be tried again now."""
        return self.deployment.status in {DeploymentStatus.FAILED, DeploymentStatus.DEGRADED} or (
            self.deployment.reason_code == Reason.WAITING_TO_RETRY.code
        )

    @property
    def poll_seconds(self) -> int:
        """How long the page waits before it asks again."""
        return 1 if self.is_moving else 5

    @property
    def version(self) -> str:
        """The same for the same content."""
        said = [self.deployment.status, self.deployment.reason, *(event.pk for event in self.events[:1])]
        said += [f"{one.pk}{one.status}{one.reason}{one.pulled_bytes}" for one in self.replicas]
        said += [*sorted(self.isolations), *(one.pk for one in self.decisions[:1])]
        said += [f"{self.update.update.pk}{self.update.update.state}"] if self.update is not None else []
        return hashlib.sha256("\n".join([*said, str(self.replicas_wanted)]).encode()).hexdigest()[:16]


def live(deployment: Deployment, *, is_whole_timeline: bool = False) -> Live:
    """Looks at ``deployment`` now."""
    replicas = tuple(queries.replicas(deployment))
    most = EVENTS_MOST if is_whole_timeline else EVENTS_SHOWN
    events = tuple(queries.timeline(deployment)[: most + 1])
    return Live(
        deployment=deployment,
        replicas=replicas,
        replicas_ready=sum(one.status == ReplicaStatus.READY for one in replicas),
        replicas_wanted=deployment_rows.wanted(deployment),
        events=events[:most],
        has_more_events=len(events) > most,
        decisions=tuple(scale_history.decisions(deployment)[:DECISIONS_SHOWN]),
        update=deployment_update.shown(deployment, replicas),
        isolations=isolation_rows.of_replicas(one.pk for one in replicas),
    )
