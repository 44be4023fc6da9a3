"""The only writer of status. Every move is in the table, carries a reason, and writes its timeline event beside it."""

from typing import Any, Final

from django.db import transaction

from moorage.accounts.actor import MOORAGE, Actor
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, StatusSpan, TimelineEvent
from moorage.deployments.reasons import Reason
from moorage.fleet import database_clock

R = ReplicaStatus
#: Where a replica may go from each status.
REPLICA_TRANSITIONS: Final[dict[ReplicaStatus, frozenset[ReplicaStatus]]] = {
    R.PENDING: frozenset({R.PENDING, R.PLACED, R.STOPPING, R.FAILED}),
    R.PLACED: frozenset({R.PULLING, R.STOPPING, R.FAILED}),
    R.PULLING: frozenset({R.STARTING, R.STOPPING, R.FAILED}),
    R.STARTING: frozenset({R.READY, R.STOPPING, R.FAILED}),
    R.READY: frozenset({R.DRAINING, R.STOPPING, R.FAILED}),
    # It goes to sleep where nobody calls, and back to work where somebody does after all.
    R.DRAINING: frozenset({R.READY, R.FROZEN, R.STOPPED, R.STOPPING, R.FAILED}),
    R.FROZEN: frozenset({R.READY, R.STOPPED, R.STOPPING, R.FAILED}),
    R.STOPPED: frozenset({R.STARTING, R.STOPPING, R.FAILED}),
    R.FAILED: frozenset({R.STOPPING}),
    R.STOPPING: frozenset({R.GONE}),
    R.GONE: frozenset(),
}
#: Not serving, and not gone: the next request brings it back.
ASLEEP: Final = frozenset({R.FROZEN, R.STOPPED})


def move_replica(
    replica: Replica,
    *,
    to: ReplicaStatus,
    reason: Reason,
    detail: str = "",
    by: Actor = MOORAGE,
    epoch: int | None = None,
    **fields: Any,
) -> bool:
    """Moves ``replica`` on, if it still has the status (and, where given, the lease epoch) that it was loaded with.

    False means that somebody else moved it meanwhile: drop what you know of it. ``replica`` is updated on success.
    A failed replica keeps the reason of its failure through stopping and gone.
    """
    assert to in REPLICA_TRANSITIONS[ReplicaStatus(replica.status)], f"{replica.status} -> {to}"
    now = database_clock.now()
    text = reason.explain(detail)
    changes: dict[str, Any] = {"status": to, **fields}
    if replica.failed_at is None or to == R.FAILED:
        changes |= {"reason_code": reason.code, "reason": text}
    if to != replica.status:
        changes["status_changed_at"] = now
    if to == R.READY and replica.ready_at is None:
        changes["ready_at"] = now
    if replica.wake_at is not None and to not in ASLEEP | {R.STARTING}:
        changes["wake_at"] = None
    if to == R.FAILED:
        changes["failed_at"] = now
    if to in {R.FAILED, R.STOPPING} and replica.ended_at is None:
        changes["ended_at"] = now
    with transaction.atomic():
        rows = Replica.objects.filter(pk=replica.pk, status=replica.status)
        if epoch is not None:
            rows = rows.filter(epoch=epoch)
        is_news = to != replica.status or reason.code != replica.reason_code
        if not rows.update(**changes):
            return False
        if to != replica.status:
            StatusSpan.objects.create(replica_id=replica.pk, status=to, began_at=now)
        if is_news:
            TimelineEvent.objects.create(
                deployment_id=replica.deployment_id,
                replica_id=replica.pk,
                code=f"replica_{to}" if to != replica.status else reason.code,
                message=text,
                by=by.label,
                at=now,
            )
    for name, value in changes.items():
        setattr(replica, name, value)
    return True


def ask_awake(replica: Replica) -> bool:
    """Somebody wants ``replica`` back. One that has not fallen asleep yet is back at once; True where it takes a
    driver."""
    if replica.status == R.DRAINING:
        move_replica(replica, to=R.READY, reason=Reason.AWAKE)
        return False
    now = database_clock.now()
    rows = Replica.objects.filter(pk=replica.pk, status__in=ASLEEP)
    if not rows.filter(wake_at=None).update(wake_at=now):
        return False
    replica.wake_at = now
    return True


def set_deployment_status(
    deployment: Deployment, *, to: DeploymentStatus, reason: Reason, detail: str = "", epoch: int
) -> bool:
    """Records where the whole deployment stands, for the holder of ``epoch``; the timeline hears of moves."""
    text = reason.explain(detail)
    if (deployment.status, deployment.reason_code, deployment.reason) == (to, reason.code, text):
        return True
    changes: dict[str, Any] = {"status": to, "reason_code": reason.code, "reason": text}
    is_move = deployment.status != to
    if is_move:
        changes["status_changed_at"] = database_clock.now()
    if to == DeploymentStatus.DELETED:
        changes["deleted_at"] = database_clock.now()
    with transaction.atomic():
        # What was seen of one target says nothing about a newer one.
        rows = Deployment.objects.filter(pk=deployment.pk, epoch=epoch, target_id=deployment.target_id)
        if to != DeploymentStatus.DELETED:
            # A delete that came in meanwhile stays.
            rows = rows.exclude(status__in=[DeploymentStatus.DELETING, DeploymentStatus.DELETED])
        if not rows.update(**changes):
            return False
        if is_move:
            TimelineEvent.objects.create(
                deployment=deployment, code=f"deployment_{to}", message=text, by=MOORAGE.label, at=database_clock.now()
            )
    for name, value in changes.items():
        setattr(deployment, name, value)
    return True


def begin_provisioning(deployment: Deployment, *, code: str, message: str, by: Actor) -> None:
    """An owner wants something else running from now on. Call it in the transaction of the deed."""
    now = database_clock.now()
    deployment.status = DeploymentStatus.PROVISIONING
    deployment.reason_code, deployment.reason = Reason.NEW.code, Reason.NEW.explain()
    deployment.status_changed_at = deployment.reconcile_at = now
    deployment.save(
        update_fields=["status", "reason_code", "reason", "status_changed_at", "reconcile_at", "target", "is_paused"]
    )
    note(deployment, code=code, message=message, by=by)


def note(deployment: Deployment, *, code: str, message: str, by: Actor) -> None:
    """Something that happened without a change of status. Call it in the transaction of the deed."""
    TimelineEvent.objects.create(
        deployment=deployment, code=code, message=message, by=by.label, at=database_clock.now()
    )
