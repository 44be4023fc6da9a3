"""Brings what runs to what is wanted: load, plan (purely), perform, publish. Level-triggered; safe to repeat.

1. Take the deployment's lease; without it somebody else is at it and will see what we would have seen.
2. Load the target, the scales, the load the gateways report, the replicas, and ask the runtime about their containers.
3. Decide how many replicas each model should have (autoscaler) and which steps are missing (planner).
4. Perform the steps that are writes; hand the slow ones (driving a replica) to the caller.
5. Write status and routes, guarded by the lease's epoch.
6. Give the lease back and say when to look again; if a look became due meanwhile, start over.
"""

import dataclasses
import datetime as dt
import logging
from collections.abc import Mapping
from typing import Final

from django.db.models import F
from django.db.models.functions import Now

from moorage.deployments import autoscaler, leases, planner, progress, routes, states, summary
from moorage.deployments.models import (
    Deployment,
    DeploymentStatus,
    Replica,
    ReplicaStatus,
    RouteActivity,
    Scale,
    Wake,
)
from moorage.deployments.pins import Pin
from moorage.deployments.planner import DesiredModel, Failures, ObservedReplica
from moorage.deployments.queries import last_start, pins_of, spec_of
from moorage.deployments.reasons import Reason, from_code
from moorage.fleet import errors as fleet_errors
from moorage.fleet.runtime import Container, ContainerRuntime
from moorage.kernel import clock

log = logging.getLogger(__name__)

R = ReplicaStatus
#: While anything runs or should run; a dead container is found within this time.
WATCH: Final = dt.timedelta(seconds=3)
#: While nothing runs and nothing is wanted: requests ring, so this is only for what was missed.
REST: Final = dt.timedelta(seconds=60)
#: A gateway that has said nothing for so long has no say in the load.
SILENT: Final = dt.timedelta(seconds=15)
#: A request that came in while we looked makes us look again, but somebody else's turn comes too.
_MOST_ROUNDS: Final = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """One look at a deployment."""

    deployment: Deployment
    pins: Mapping[str, Pin]
    replicas: tuple[ObservedReplica, ...]
    rows: Mapping[str, Replica]
    troubles: Mapping[str, summary.Trouble]
    is_runtime_reachable: bool


def reconcile(deployment_id: str, *, runtime: ContainerRuntime) -> tuple[str, ...]:
    """Reconciles one deployment; returns the ids of replicas that have to be driven.

    Empty if somebody else is at it: they are told to look once more before they stop.
    """
    to_drive: dict[str, None] = {}
    for _ in range(_MOST_ROUNDS):
        epoch = _claim(deployment_id)
        if epoch is None:
            break
        finished = False
        try:
            Deployment.objects.filter(pk=deployment_id, epoch=epoch).update(is_look_wanted=False)
            deployment = Deployment.objects.select_related("target", "organization").get(pk=deployment_id)
            seen_at = deployment.reconcile_at
            if deployment.status == DeploymentStatus.DELETED or deployment.target is None:
                return ()
            to_drive |= dict.fromkeys(_round(deployment, epoch, runtime))
            # Zero rows: a look became due while we looked, or the lease was lost.
            finished = bool(
                Deployment.objects.filter(
                    pk=deployment_id, epoch=epoch, reconcile_at=seen_at, is_look_wanted=False
                ).update(lease_until=None, reconcile_at=Now() + _next_look(deployment))
            )
        finally:
            if not finished:
                leases.give_back(Deployment, deployment_id, epoch)
        if finished:
            break
    return tuple(to_drive)


def _claim(deployment_id: str) -> int | None:
    epoch = leases.claim(Deployment, deployment_id)
    if epoch is not None:
        return epoch
    # Said first and tried again after: the holder either sees it before it stops, or has stopped by now.
    Deployment.objects.filter(pk=deployment_id).update(is_look_wanted=True)
    return leases.claim(Deployment, deployment_id)


def _round(deployment: Deployment, epoch: int, runtime: ContainerRuntime) -> tuple[str, ...]:
    now = clock.now()
    seen = _look(deployment, runtime)
    is_off = _off(deployment)
    models = _desired(seen, is_off=is_off is not None, now=now)
    failures = {key: trouble.failures for key, trouble in seen.troubles.items()}
    actions = planner.plan(models, seen.replicas, failures, is_off=is_off, now=now)
    to_drive = _perform(deployment, seen, actions, epoch)
    after = _look(deployment, runtime) if actions else seen
    _publish(deployment, after, models, epoch)
    return to_drive


def _off(deployment: Deployment) -> Reason | None:
    if deployment.status == DeploymentStatus.DELETING:
        return Reason.DELETED
    return Reason.PAUSED if deployment.is_paused else None


def _look(deployment: Deployment, runtime: ContainerRuntime) -> Seen:
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


def _desired(seen: Seen, *, is_off: bool, now: dt.datetime) -> tuple[DesiredModel, ...]:
    deployment = seen.deployment
    assert deployment.target is not None
    scales = {scale.model_key: scale for scale in deployment.scales.all()}
    wakes = set(Wake.objects.filter(deployment_id=deployment.pk).values_list("model_key", flat=True))
    wanted = []
    for model in spec_of(deployment.target).models:
        scale = scales.get(model.key)
        if scale is None:
            scale = Scale.objects.create(
                deployment=deployment, model_key=model.key, wanted=max(model.scale.min, 1), why="new"
            )
        decision = autoscaler.decide(
            autoscaler.Policy(
                minimum=model.scale.min,
                maximum=model.scale.max,
                idle_seconds=model.scale.idle_seconds,
                slots=seen.pins[model.key].slots,
            ),
            _load(deployment, model.key, scale, is_wake_requested=model.key in wakes),
            current=scale.wanted,
            surplus_since=scale.surplus_since,
            is_off=is_off,
            now=now,
        )
        if (decision.count, decision.surplus_since) != (scale.wanted, scale.surplus_since):
            # Guarded by what was read: an apply in between has decided for itself.
            Scale.objects.filter(pk=scale.pk, decided_at=scale.decided_at).update(
                wanted=decision.count, why=decision.why[:200], surplus_since=decision.surplus_since, decided_at=now
            )
            if decision.count != scale.wanted:
                log.info(
                    "scaled deployment=%s model=%s from=%d to=%d why=%s",
                    deployment.pk,
                    model.key,
                    scale.wanted,
                    decision.count,
                    decision.why,
                )
        wanted.append(DesiredModel(key=model.key, revision_id=deployment.target.pk, wanted=decision.count))
    return tuple(wanted)


def _load(deployment: Deployment, model_key: str, scale: Scale, *, is_wake_requested: bool) -> autoscaler.Load:
    in_flight = waiting = 0
    last_active = scale.active_at
    fresh = clock.now() - SILENT
    for activity in RouteActivity.objects.filter(route_id=routes.route_id(deployment.pk, model_key)):
        if activity.reported_at > fresh:
            in_flight += activity.in_flight
            waiting += activity.waiting
        if activity.last_request_at is not None:
            last_active = max(last_active, activity.last_request_at)
    # A replica that has just come up has its whole idle time before it.
    ready_at = (
        deployment.replicas.filter(model_key=model_key, status=R.READY)
        .order_by("-ready_at")
        .values_list("ready_at", flat=True)
        .first()
    )
    if ready_at is not None:
        last_active = max(last_active, ready_at)
    elif scale.wanted:
        # Nobody can call what is not up: a long pull, or a worker that was away, uses up no idle time.
        last_active = clock.now()
    return autoscaler.Load(
        in_flight=in_flight, waiting=waiting, is_wake_requested=is_wake_requested, last_active_at=last_active
    )


def _perform(deployment: Deployment, seen: Seen, actions: tuple[planner.Action, ...], epoch: int) -> tuple[str, ...]:
    """Writes what the plan says; a move that lost its race is dropped and planned anew next time."""
    to_drive = []
    for action in actions:
        match action:
            case planner.Create(model_key=key, revision_id=revision_id):
                if not Deployment.objects.filter(
                    pk=deployment.pk, epoch=epoch, target_id=deployment.target_id
                ).exists():
                    return ()
                replica = Replica.objects.create(
                    deployment=deployment,
                    revision_id=revision_id,
                    model_key=key,
                    reason_code=Reason.NEW.code,
                    reason=Reason.NEW.explain(),
                )
                to_drive.append(replica.pk)
            case planner.Drive(replica_id=replica_id):
                to_drive.append(replica_id)
            case planner.Drain(replica_id=replica_id, reason=reason):
                states.move_replica(seen.rows[replica_id], to=R.DRAINING, reason=reason)
            case planner.Stop(replica_id=replica_id, reason=reason):
                if states.move_replica(seen.rows[replica_id], to=R.STOPPING, reason=reason):
                    to_drive.append(replica_id)
            case planner.Fail(replica_id=replica_id, reason=reason, detail=detail):
                replica = seen.rows[replica_id]
                observed = next(one for one in seen.replicas if one.id == replica_id)
                states.move_replica(replica, to=R.FAILED, reason=reason, detail=detail, exit_code=observed.exit_code)
    return tuple(to_drive)


def _publish(deployment: Deployment, seen: Seen, models: tuple[DesiredModel, ...], epoch: int) -> None:
    off = _off(deployment)
    if off is Reason.DELETED:
        if not seen.replicas:
            states.set_deployment_status(deployment, to=DeploymentStatus.DELETED, reason=off, epoch=epoch)
            Wake.objects.filter(deployment_id=deployment.pk).delete()
        return
    standings = {
        model.key: summary.of_model(model, seen.replicas, seen.troubles.get(model.key), waiting=_waiting(seen, model))
        for model in models
    }
    if off is Reason.PAUSED:
        paused = summary.Standing(status=DeploymentStatus.PAUSED, reason=Reason.PAUSED)
        standings = dict.fromkeys(standings, paused)
    overall = summary.of_deployment(standings)
    # The route first: whoever waits for the status may send a request the moment it changes.
    routes.publish(deployment, seen.pins, standings, epoch=epoch)
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
            now=clock.now(),
        ),
    )


def _next_look(deployment: Deployment) -> dt.timedelta:
    """Soon while there is anything to watch."""
    is_quiet = (
        deployment.status in {DeploymentStatus.IDLE, DeploymentStatus.PAUSED, DeploymentStatus.DELETED}
        and not deployment.replicas.exclude(status=R.GONE).exists()
    )
    return REST if is_quiet else WATCH


def due() -> tuple[str, ...]:
    """Deployments that should be looked at now and that nobody holds."""
    rows = (
        Deployment.objects.exclude(status=DeploymentStatus.DELETED)
        .filter(reconcile_at__lte=Now())
        .exclude(lease_until__gt=Now())
        .order_by("reconcile_at")
    )
    return tuple(rows.values_list("pk", flat=True)[:500])


def undriven() -> tuple[str, ...]:
    """Replicas on their way that nobody drives: their driver died, or waits were left to a sweep."""
    rows = (
        Replica.objects.filter(status__in=[R.PENDING, R.PLACED, R.PULLING, R.STARTING, R.STOPPING])
        .exclude(lease_until__gt=Now())
        .order_by(F("status_changed_at"))
    )
    return tuple(rows.values_list("pk", flat=True)[:500])
