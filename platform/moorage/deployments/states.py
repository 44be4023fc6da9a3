"""The only writer of status. Every move is in the table, carries a reason, and writes its timeline event beside it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from django.db import connection, transaction

from moorage.accounts.actor import MOORAGE, Actor
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Route, TimelineEvent
from moorage.deployments.models.timeline import new_event_id
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


#: A move with all that is written beside it, in one statement: somebody may be waiting for it. ``held`` keeps whoever
#: writes the deployment's routes under its lock away, and is empty where the deployment wants something else by now.
_MOVE: Final = """
    WITH {held}moved AS (
        UPDATE replica SET {changes} WHERE id = %(replica)s AND status = %(before)s
        AND epoch = coalesce(%(epoch)s, epoch) {fence} RETURNING id
    ), spanned AS (
        INSERT INTO replica_status_span (replica_id, status, began_at)
        SELECT id, %(status)s, %(now)s FROM moved WHERE %(status)s <> %(before)s
    ), told AS (
        INSERT INTO timeline_event (id, deployment_id, replica_id, code, message, by, at)
        SELECT %(event)s, %(deployment)s, id, %(code)s, %(text)s, %(by)s, %(now)s FROM moved WHERE %(is_news)s
    ){routed}
    SELECT (SELECT count(*) FROM moved), {count}
"""
#: For a step of a look: nobody has taken the deployment's lease since, and nobody does until the step is done.
_FENCE: Final = """AND EXISTS (
            SELECT 1 FROM deployment WHERE id = %(deployment)s AND epoch = %(deployment_epoch)s FOR SHARE)"""
#: The deployment's row is locked before the replica's, here as everywhere.
_HELD_FIRST: Final = "AND (SELECT count(*) FROM held) >= 0"
_HELD: Final = """held AS (
        SELECT id FROM deployment WHERE id = %(deployment)s AND target_id = %(target)s AND NOT is_paused
        AND status NOT IN ('deleting', 'deleted') FOR NO KEY UPDATE
    ), """
_ROUTED: Final = """, routed AS (
        UPDATE route SET changed_at = %(now)s, document = %(document)s || jsonb_build_object(
            'version', greatest(%(version)s, coalesce((route.document ->> 'version')::bigint, 0) + 1))
        FROM held, moved WHERE route.id = %(route)s AND route.document -> 'replicas' = '[]' RETURNING route.id
    )"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RouteChange:
    """What a route that names nobody becomes with a move, if the deployment still has that target. Its version is that
    of the document, or one more than the row's where that is newer."""

    route_id: str
    target_id: str
    version: int
    document: Mapping[str, Any]


def move_replica(
    replica: Replica,
    *,
    to: ReplicaStatus,
    reason: Reason,
    detail: str = "",
    by: Actor = MOORAGE,
    epoch: int | None = None,
    deployment_epoch: int | None = None,
    **fields: Any,
) -> bool:
    """Moves ``replica`` on, if it still has the status (and, where given, the lease epoch) that it was loaded with, and
    if its deployment still has ``deployment_epoch``, where the move is decided under its lease.

    False means that somebody else moved it meanwhile: drop what you know of it. ``replica`` is updated on success.
    A failed replica keeps the reason of its failure through stopping and gone.
    """
    moved, _ = _move(
        replica,
        to=to,
        reason=reason,
        detail=detail,
        by=by,
        epoch=epoch,
        deployment_epoch=deployment_epoch,
        fields=fields,
    )
    return moved


def bring_to_service(
    replica: Replica, *, reason: Reason, detail: str, epoch: int, route: RouteChange
) -> tuple[bool, bool]:
    """Makes ``replica`` ready, gives its lease back and changes its route, all at once. Whether the one was done, and
    whether the other."""
    fields = {"lease_until": None}
    return _move(replica, to=R.READY, reason=reason, detail=detail, by=MOORAGE, epoch=epoch, route=route, fields=fields)


def _move(
    replica: Replica,
    *,
    to: ReplicaStatus,
    reason: Reason,
    detail: str,
    by: Actor,
    epoch: int | None,
    fields: Mapping[str, Any],
    deployment_epoch: int | None = None,
    route: RouteChange | None = None,
) -> tuple[bool, bool]:
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
    columns: dict[str, Any] = {name: Replica._meta.get_field(name) for name in changes}
    values: dict[str, Any] = {
        name: column.get_db_prep_save(changes[name], connection) for name, column in columns.items()
    }
    values |= {
        "replica": replica.pk,
        "before": str(replica.status),
        "epoch": epoch,
        "deployment_epoch": deployment_epoch,
        "now": now,
        "deployment": replica.deployment_id,
        "event": new_event_id(),
        "code": f"replica_{to}" if to != replica.status else reason.code,
        "text": text,
        "by": by.label,
        "is_news": to != replica.status or reason.code != replica.reason_code,
    }
    if route is not None:
        document = Route._meta.get_field("document").get_db_prep_save(dict(route.document), connection)
        values |= {
            "route": route.route_id,
            "target": route.target_id,
            "version": route.version,
            "document": document,
        }
    statement = _MOVE.format(
        changes=", ".join(f'"{column.column}" = %({name})s' for name, column in columns.items()),
        fence=_HELD_FIRST if route is not None else _FENCE if deployment_epoch is not None else "",
        held=_HELD if route is not None else "",
        routed=_ROUTED if route is not None else "",
        count="(SELECT count(*) FROM routed)" if route is not None else "0",
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        moved, routed = cursor.fetchone()
    if moved:
        for name, value in changes.items():
            setattr(replica, name, value)
    return bool(moved), bool(routed)


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
