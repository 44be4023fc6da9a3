"""What everybody else hears of a look: the routes, and where the deployment stands."""

from moorage.deployments import progress, routes, states, summary
from moorage.deployments.models import Deployment, DeploymentStatus, ReplicaStatus, Wake
from moorage.deployments.observed import Seen, off_reason
from moorage.deployments.planner import DesiredModel
from moorage.deployments.queries import last_start
from moorage.deployments.reasons import Reason, from_code
from moorage.fleet import database_clock

R = ReplicaStatus


def publish(deployment: Deployment, seen: Seen, models: tuple[DesiredModel, ...], *, epoch: int) -> None:
    """Writes routes and status, if ``epoch`` still holds the deployment."""
    off = off_reason(deployment)
    if off is Reason.DELETED:
        if not seen.replicas:
            states.set_deployment_status(deployment, to=DeploymentStatus.DELETED, reason=off, epoch=epoch)
            Wake.objects.filter(deployment_id=deployment.pk).delete()
        return
    standings = {
        model.key: summary.of_model(model, seen.replicas, seen.troubles.get(model.key), waiting=_waiting(seen, model))
        for model in models
    }
    if off is not None:
        paused = summary.Standing(status=DeploymentStatus.PAUSED, reason=off)
        standings = dict.fromkeys(standings, paused)
    overall = summary.of_deployment(standings)
    # The route first: whoever waits for the status may send a request the moment it changes.
    wanted = {model.key: model.wanted for model in models}
    routes.publish(deployment, seen.pins, standings, wanted=wanted, trial=seen.trial, epoch=epoch)
    states.set_deployment_status(
        deployment, to=overall.status, reason=overall.reason, detail=overall.detail, epoch=epoch
    )


def _waiting(seen: Seen, model: DesiredModel) -> summary.Standing | None:
    """What the furthest unfinished replica of the target waits for."""
    order = [R.STARTING, R.PULLING, R.PLACED, R.PENDING]
    rows = [
        row
        for row in seen.rows.values()
        if row.model_key == model.key and row.revision_id == model.revision_id and row.status in order
    ]
    if not rows:
        return None
    row = min(rows, key=lambda one: order.index(R(one.status)))
    if not seen.is_runtime_reachable:
        return summary.Standing(status=DeploymentStatus.PROVISIONING, reason=Reason.RUNTIME_UNREACHABLE)
    reason = from_code(row.reason_code)
    detail = row.reason.removeprefix(reason.sentence).strip()
    if row.status == R.PULLING and row.total_bytes:
        detail = f"{row.pulled_bytes / 1e6:.1f} of {row.total_bytes / 1e6:.1f} MB."
    return summary.Standing(
        status=DeploymentStatus.PROVISIONING,
        reason=reason,
        detail=detail,
        progress=progress.of_replica(
            R(row.status),
            since=row.status_changed_at,
            pulled_bytes=row.pulled_bytes,
            total_bytes=row.total_bytes,
            start_took=last_start(seen.deployment, model.key),
            now=database_clock.now(),
            pull_seconds=row.pull.get("seconds_left"),
        ),
    )
