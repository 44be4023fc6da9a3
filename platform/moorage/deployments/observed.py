"""One look at a deployment: its replicas, what the runtime says of their containers, their load, and past failures."""

import dataclasses
import datetime as dt
from collections.abc import Collection, Mapping
from typing import Final

from moorage.deployments import planner, summary, updates, withholding
from moorage.deployments.loads import SILENT as SILENT
from moorage.deployments.loads import in_flight
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Update, Vitality
from moorage.deployments.pins import Pin
from moorage.deployments.planner import ObservedReplica
from moorage.deployments.queries import pins_of
from moorage.deployments.reasons import Reason, from_code
from moorage.deployments.setbacks import SERVED_A_WHILE, Failures
from moorage.fleet import database_clock
from moorage.fleet import errors as fleet_errors
from moorage.fleet import queries as fleet_queries
from moorage.fleet.runtime import Container, ContainerRuntime

R = ReplicaStatus


_ROOMLESS: Final = frozenset({Reason.NO_CAPACITY.code, Reason.ROOM_HELD.code})
#: Why a replica drains that may be called again: it goes to sleep, or back to work.
_DROWSY: Final = frozenset({Reason.IDLE.code, Reason.MEMORY_NEEDED.code})
#: Why a replica drains for whose end nobody waits.
_UNHURRIED: Final = frozenset({Reason.NEW_REVISION.code, Reason.SURPLUS.code})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """One look at a deployment."""

    deployment: Deployment
    pins: Mapping[str, Pin]
    replicas: tuple[ObservedReplica, ...]
    rows: Mapping[str, Replica]
    troubles: Mapping[str, summary.Trouble]
    is_runtime_reachable: bool
    trial: updates.Trial | None = None


def off_reason(deployment: Deployment) -> Reason | None:
    """Why nothing of ``deployment`` should run: it is being deleted or paused, or its organization does not pay for it
    (withholding.py); None where it should."""
    if deployment.status == DeploymentStatus.DELETING:
        return Reason.DELETED
    return Reason.PAUSED if deployment.is_paused else withholding.reason_of(deployment.organization)


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
        if replica.container_name and replica.status in {R.READY, R.DRAINING, R.FROZEN, R.STOPPED}:
            try:
                containers[replica.pk] = runtime.inspect(replica.container_name)
            except fleet_errors.RuntimeUnreachable:
                is_reachable = False
                break
    loads = in_flight(deployment, rows.values())
    now = database_clock.now()
    stopped = [replica.pk for replica in rows.values() if replica.status == R.STOPPED]
    roomless = frozenset(stopped) - fleet_queries.reserved_replica_ids() if stopped else frozenset()
    stuck = dict(Vitality.objects.filter(replica__in=rows, stuck_at__isnull=False).values_list("replica_id", "detail"))
    drained = fleet_queries.drained_node_ids()
    observed = tuple(
        dataclasses.replace(
            _observed(replica, containers, is_reachable, loads, roomless, now),
            is_stuck=replica.pk in stuck,
            node_is_draining=replica.node_id in drained,
            stuck_why=stuck.get(replica.pk, ""),
        )
        for replica in rows.values()
    )
    update = updates.open_of(deployment)
    trial = updates.trial_of(update)
    pins = {**(trial.pins if trial else {}), **{pin.model_key: pin for pin in pins_of(deployment.target)}}
    return Seen(
        deployment=deployment,
        pins=pins,
        replicas=observed,
        rows=rows,
        troubles={key: trouble for key in pins if (trouble := _trouble(deployment, key, update)) is not None},
        is_runtime_reachable=is_reachable,
        trial=trial,
    )


def _observed(
    replica: Replica,
    containers: Mapping[str, Container | None],
    is_reachable: bool,
    loads: Mapping[str, int],
    roomless: Collection[str],
    now: dt.datetime,
) -> ObservedReplica:
    state: planner.ContainerState = "unknown"
    container = containers.get(replica.pk)
    if is_reachable and replica.pk in containers:
        state = "absent" if container is None else "running" if container.status == "created" else container.status
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
        is_refused_room=replica.status == R.PENDING and replica.reason_code in _ROOMLESS,
        is_room_held=replica.status == R.PENDING and replica.reason_code == Reason.ROOM_HELD.code,
        is_patient=replica.reason_code in _UNHURRIED,
        is_driven=replica.lease_until is not None and replica.lease_until > now,
        is_drowsy=replica.status == R.DRAINING and replica.reason_code in _DROWSY,
        is_waking=replica.wake_at is not None,
        holds_room=replica.pk not in roomless,
    )


def _trouble(deployment: Deployment, model_key: str, update: Update | None) -> summary.Trouble | None:
    """The run of failures of the target's replicas of one model, newest first, up to the last that was ever ready.

    A revision that is wanted anew begins anew: failures from before the open update are forgiven.
    """
    count, last, is_permanent = 0, None, False
    now = database_clock.now()
    ended = deployment.replicas.filter(revision_id=deployment.target_id, model_key=model_key).order_by("-created_at")
    if update is not None:
        ended = ended.filter(created_at__gte=update.created_at)
    if deployment.tries_from is not None:
        ended = ended.exclude(failed_at__lte=deployment.tries_from)
    for replica in ended[:20]:
        if replica.failed_at is None:
            if replica.ready_at is not None and (replica.ended_at or now - replica.ready_at > SERVED_A_WHILE):
                break
            # On its way, or ready so lately that it may yet go the way of those before it.
            continue
        last = last or replica
        is_permanent = is_permanent or replica.is_permanent_failure
        if replica.ready_at is not None and replica.failed_at - replica.ready_at > SERVED_A_WHILE:
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
