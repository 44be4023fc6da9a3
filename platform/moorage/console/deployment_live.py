"""What changes on a deployment's page while somebody looks: where it stands, its replicas, what happened.

The page asks again and again; once nothing moves, an answer that would say the same is not sent.
"""

import dataclasses
import hashlib
from typing import Final

from moorage.console import deployment_rows
from moorage.deployments import queries
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, TimelineEvent

EVENTS_SHOWN: Final = 20
EVENTS_MOST: Final = 500
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

    @property
    def is_moving(self) -> bool:
        """Whether something is under way, so that the clocks on the page run."""
        return self.deployment.status in _MOVING or any(one.status not in _SETTLED for one in self.replicas)

    @property
    def poll_seconds(self) -> int:
        """How long the page waits before it asks again."""
        return 1 if self.is_moving else 5

    @property
    def version(self) -> str:
        """The same for the same content."""
        said = [self.deployment.status, self.deployment.reason, *(event.pk for event in self.events[:1])]
        said += [f"{one.pk}{one.status}{one.reason}{one.pulled_bytes}" for one in self.replicas]
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
    )
