"""One look at a deployment: its replicas, what the runtime says of their containers, their load, and past failures."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Final

from moorage.deployments import planner, summary
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, RouteActivity
from moorage.deployments.pins import Pin
from moorage.deployments.planner import Failures, ObservedReplica
from moorage.deployments.queries import pins_of
from moorage.deployments.reasons import Reason, from_code
from moorage.fleet import errors as fleet_errors
from moorage.fleet.runtime import Container, ContainerRuntime
from moorage.kernel import clock

R = ReplicaStatus
#: A gateway that has said nothing for so long has no say in the load.
SILENT: Final = dt.timedelta(seconds=15)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """One look at a deployment."""

    deployment: Deployment
    pins: Mapping[str, Pin]
    replicas: tuple[ObservedReplica, ...]
    rows: Mapping[str, Replica]
    troubles: Mapping[str, summary.Trouble]
    is_runtime_reachable: bool


def off_reason(deployment: Deployment) -> Reason | None:
    """Why nothing of ``deployment`` should run: it is being deleted or paused; None where it should."""
    if deployment.status == DeploymentStatus.DELETING:
        return Reason.DELETED
    return Reason.PAUSED if deployment.is_paused else None


def look(deployment: Deployment, *, runtime: ContainerRuntime) -> Seen:
    """The deployment as it is now. A runtime that cannot be asked leaves its containers unknown."""
    assert deployment.target is not None
    rows = {
        replica.pk: replica
        for replica in deployment.replicas.exclude(status=R.GONE).select_related("revision").order_by("created_at")
    }
    is_reachable = True
    containers: dict[str, Container | None] = {}
    for replica in rows.values():
        if replica.container_name and replica.status in {R.READY, R.DRAINING}:
            try:
                containers[replica.pk] = runtime.inspect(replica.container_name)
            except fleet_errors.RuntimeUnreachable:
                is_reachable = False
                break
    loads = _in_flight_by_replica(deployment)
    now = clock.now()
    observed = tuple(_observed(replica, containers, is_reachable, loads, now) for replica in rows.values())
    pins = {pin.model_key: pin for pin in pins_of(deployment.target)}
    return Seen(
        deployment=deployment,
        pins=pins,
        replicas=observed,
        rows=rows,
        troubles={key: trouble for key in pins if (trouble := _trouble(deployment, key)) is not None},
        is_runtime_reachable=is_reachable,
    )


def _observed(
    replica: Replica,
    containers: Mapping[str, Container | None],
    is_reachable: bool,
    loads: Mapping[str, int],
    now: dt.datetime,
) -> ObservedReplica:
    state: planner.ContainerState = "unknown"
    container = containers.get(replica.pk)
    if is_reachable and replica.pk in containers:
        state = "absent" if container is None else "exited" if container.status == "exited" else "running"
    return ObservedReplica(
        id=replica.pk,
        model_key=replica.model_key,
        revision_id=replica.revision_id,
        status=R(replica.status),
        status_changed_at=replica.status_changed_at,
        created_at=replica.created_at,
        container=state,
        exit_code=container.exit_code if container else None,
        is_oom_killed=container.is_oom_killed if container else False,
        in_flight=loads.get(replica.pk, 0),
        is_refused_room=replica.status == R.PENDING and replica.reason_code == Reason.NO_CAPACITY.code,
        is_driven=replica.lease_until is not None and replica.lease_until > now,
    )


def _in_flight_by_replica(deployment: Deployment) -> dict[str, int]:
    totals: dict[str, int] = {}
    fresh = clock.now() - SILENT
    for activity in RouteActivity.objects.filter(route_id__startswith=f"{deployment.pk}:", reported_at__gt=fresh):
        for replica_id, count in activity.replicas.items():
            totals[replica_id] = totals.get(replica_id, 0) + int(count)
    return totals


def _trouble(deployment: Deployment, model_key: str) -> summary.Trouble | None:
    """The run of failures of the target's replicas of one model, newest first, up to the last that was ever ready."""
    count, last, is_permanent = 0, None, False
    ended = deployment.replicas.filter(revision_id=deployment.target_id, model_key=model_key).order_by("-created_at")
    for replica in ended[:20]:
        if replica.failed_at is None:
            if replica.ready_at is not None:
                break
            continue
        last = last or replica
        is_permanent = is_permanent or replica.is_permanent_failure
        if replica.ready_at is not None and replica.failed_at - replica.ready_at > dt.timedelta(minutes=1):
            # It served for a while: a new run of failures, of one.
            count += 1
            break
        count += 1
    if last is None:
        return None
    return summary.Trouble(
        reason=from_code(last.reason_code),
        detail=last.reason.removeprefix(from_code(last.reason_code).sentence).strip(),
        failures=Failures(count=count, last_at=last.failed_at, is_permanent=is_permanent),
    )
