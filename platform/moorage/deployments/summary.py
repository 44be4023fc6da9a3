"""Where a deployment stands, from where its models stand. Pure.

The worst thing that needs somebody's attention is named first; what still serves is said beside it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from moorage.deployments.models import DeploymentStatus, ReplicaStatus
from moorage.deployments.planner import (
    DesiredModel,
    ObservedReplica,
)
from moorage.deployments.progress import NO_PROGRESS, Progress
from moorage.deployments.reasons import Reason
from moorage.deployments.setbacks import FAILURES_BEFORE_FAILED, Failures, retry_at

D, R = DeploymentStatus, ReplicaStatus


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standing:
    """A status with its reason; ``detail`` are the particulars behind the reason's sentence."""

    status: DeploymentStatus
    reason: Reason
    detail: str = ""
    #: How far what it waits for is.
    progress: Progress = NO_PROGRESS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trouble:
    """The last failure of a model: its reason and particulars, and how often in a row."""

    reason: Reason
    detail: str
    failures: Failures


def of_model(
    model: DesiredModel, replicas: Sequence[ObservedReplica], trouble: Trouble | None, *, waiting: Standing | None
) -> Standing:
    """Where one model of the target stands. ``waiting``: what its furthest unfinished replica waits for."""
    mine = [replica for replica in replicas if replica.model_key == model.key]
    ready = [replica for replica in mine if replica.status == R.READY]
    current = [replica for replica in ready if replica.revision_id == model.revision_id]
    if current:
        return Standing(status=D.READY, reason=Reason.ON_TRIAL if model.beside else Reason.SERVING)
    old = " An earlier revision still serves." if ready else ""
    is_hopeless = trouble is not None and (
        trouble.failures.is_permanent or trouble.failures.count >= FAILURES_BEFORE_FAILED
    )
    if model.wanted == 0 and not is_hopeless:
        return Standing(status=D.IDLE, reason=Reason.IDLE)
    if trouble is not None and is_hopeless:
        status = D.DEGRADED if ready else D.FAILED
        detail = f"{trouble.detail}{old} {_what_next(trouble.failures)}".strip()
        return Standing(status=status, reason=trouble.reason, detail=detail)
    if waiting is not None:
        return dataclasses.replace(waiting, detail=f"{waiting.detail}{old}".strip())
    if trouble is not None and trouble.failures.count:
        detail = f"{trouble.reason.explain(trouble.detail)}{old}"
        return Standing(status=D.PROVISIONING, reason=Reason.WAITING_TO_RETRY, detail=detail)
    return Standing(status=D.PROVISIONING, reason=Reason.NEW, detail=old.strip())


def _what_next(failures: Failures) -> str:
    """What becomes of a model whose tries are used up, and what its owner can do."""
    if failures.is_permanent:
        return "It is not tried again by itself: apply a changed file, or try again now."
    due = retry_at(failures)
    when = f", next at {due:%H:%M:%S} UTC" if due else ""
    return f"It failed {failures.count} times in a row and is tried later and later{when}. Change the file, or try now."


def of_deployment(models: Mapping[str, Standing]) -> Standing:
    """The whole from its models, by key."""
    some = next(iter(models.values()))
    statuses = {standing.status for standing in models.values()}
    if statuses == {some.status} and len(models) == 1:
        return some
    serves = D.READY in statuses or D.DEGRADED in statuses
    for status in (D.FAILED, D.DEGRADED, D.PROVISIONING):
        for key, standing in models.items():
            if standing.status == status:
                overall = D.DEGRADED if status == D.FAILED and serves else status
                return Standing(status=overall, reason=standing.reason, detail=f"{key}: {standing.detail}".strip(": "))
    healthy = D.READY if D.READY in statuses else D.IDLE
    return next(standing for standing in models.values() if standing.status == healthy)
