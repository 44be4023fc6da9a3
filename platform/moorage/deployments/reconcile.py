"""Brings what runs to what is wanted: load, plan (purely), perform, publish. Level-triggered; safe to repeat.

1. Take the deployment's lease; without it somebody else is at it and will see what we would have seen.
2. Load the target, the scales, the load the gateways report, the replicas, and ask the runtime about their containers.
3. Decide how many replicas each model should have (autoscaler) and which steps are missing (planner).
4. Perform the steps that are writes; hand the slow ones (driving a replica) to the caller.
5. Write status and routes, guarded by the lease's epoch.
6. Give the lease back and say when to look again; if a look became due meanwhile, start over.
"""

import datetime as dt
import functools
import logging
from typing import Final

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from moorage.deployments import (
    actions,
    beds,
    last_words,
    leases,
    planner,
    publishing,
    scaling,
    states,
    tiers,
    trials,
    updates,
)
from moorage.deployments.lease_keeper import KEEPER, Keeper
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus
from moorage.deployments.observed import Seen, look, off_reason
from moorage.deployments.reasons import Reason
from moorage.fleet import database_clock
from moorage.fleet.runtime import ContainerRuntime

log = logging.getLogger(__name__)

R = ReplicaStatus
#: While anything runs or should run; a dead container is found within this time.
WATCH: Final = dt.timedelta(seconds=3)
#: While nothing runs and nothing is wanted: requests ring, so this is only for what was missed.
REST: Final = dt.timedelta(seconds=60)
#: A request that came in while we looked makes us look again, but somebody else's turn comes too.
_MOST_ROUNDS: Final = 5


def reconcile(deployment_id: str, *, runtime: ContainerRuntime, keeper: Keeper = KEEPER) -> tuple[str, ...]:
    """Reconciles one deployment; returns the ids of replicas that have to be driven.

    ``keeper`` renews the lease while the runtime takes its time.

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
            with keeper.keeping(Deployment, deployment_id, epoch):
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
    now = database_clock.now()
    seen = look(deployment, runtime=runtime)
    if not leases.renew(Deployment, deployment.pk, epoch):
        # The look took too long, or we stood still: somebody else has seen what is newer.
        return ()
    is_off = off_reason(deployment)
    assert deployment.target is not None
    models = updates.shaped(
        scaling.desired(seen, is_off=is_off is not None, now=now), seen.trial, deployment.target, seen.replicas
    )
    if is_off is None and trials.follow(deployment, seen, models, now=now):
        return ()
    failures = {key: trouble.failures for key, trouble in seen.troubles.items()}
    sleeps = beds.beds_of(deployment) if is_off is None else {}
    steps = planner.plan(models, seen.replicas, failures, is_off=is_off, beds=sleeps, now=now)
    to_drive = _perform(deployment, seen, steps, epoch, runtime)
    after = look(deployment, runtime=runtime) if steps else seen
    publishing.publish(deployment, after, models, epoch=epoch)
    return to_drive


def _perform(
    deployment: Deployment, seen: Seen, steps: tuple[actions.Action, ...], epoch: int, runtime: ContainerRuntime
) -> tuple[str, ...]:
    """Writes what the plan says; a move that lost its race is dropped and planned anew next time."""
    to_drive = []
    move = functools.partial(states.move_replica, deployment_epoch=epoch)
    for step in steps:
        match step:
            case actions.Create(model_key=key, revision_id=revision_id):
                created = _create(deployment, key, revision_id, epoch)
                if created is None:
                    return ()
                to_drive.append(created)
            case actions.Drive(replica_id=replica_id):
                to_drive.append(replica_id)
            case actions.Drain(replica_id=replica_id, reason=reason):
                is_moved = move(seen.rows[replica_id], to=R.DRAINING, reason=reason)
                if is_moved and reason is Reason.MAKES_WAY:
                    updates.made_way(deployment)
            case actions.Stop(replica_id=replica_id, reason=reason, detail=detail):
                if move(seen.rows[replica_id], to=R.STOPPING, reason=reason, detail=detail):
                    to_drive.append(replica_id)
            case tiers.Rest(replica_id=replica_id, to=to, reason=reason, detail=detail):
                if move(seen.rows[replica_id], to=to, reason=reason, detail=detail):
                    to_drive.append(replica_id)
            case tiers.Wake(replica_id=replica_id):
                if states.ask_awake(seen.rows[replica_id]):
                    to_drive.append(replica_id)
            case actions.Fail(replica_id=replica_id, reason=reason, detail=detail):
                replica = seen.rows[replica_id]
                observed = next(one for one in seen.replicas if one.id == replica_id)
                reason, detail = last_words.particulars(replica, reason, detail, runtime)
                move(replica, to=R.FAILED, reason=reason, detail=detail, exit_code=observed.exit_code)
    return tuple(to_drive)


@transaction.atomic
def _create(deployment: Deployment, model_key: str, revision_id: str, epoch: int) -> str | None:
    """A new replica's id; None where the lease is lost, which nobody takes in between, or something else is wanted."""
    held = Deployment.objects.select_for_update(no_key=True)
    if held.filter(pk=deployment.pk, epoch=epoch, target_id=deployment.target_id).first() is None:
        return None
    replica = Replica.objects.create(
        deployment=deployment,
        revision_id=revision_id,
        model_key=model_key,
        reason_code=Reason.NEW.code,
        reason=Reason.NEW.explain(),
        created_at=database_clock.now(),
    )
    return replica.pk


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
        Replica.objects.filter(
            Q(status__in=[R.PENDING, R.PLACED, R.PULLING, R.STARTING, R.STOPPING])
            | Q(status__in=states.ASLEEP, wake_at__isnull=False)
        )
        .exclude(lease_until__gt=Now())
        .order_by(F("status_changed_at"))
    )
    return tuple(rows.values_list("pk", flat=True)[:500])
