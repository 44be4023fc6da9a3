"""From what the gateways report to how many replicas are wanted: the autoscaler's caller, and the writer of Scale."""

import datetime as dt
import logging

from django.db import transaction

from moorage.compose.spec import ModelSpec
from moorage.deployments import autoscaler, routes, scale_history, schedules
from moorage.deployments.load_window import LoadWindow
from moorage.deployments.models import Deployment, Replica, ReplicaStatus, RouteActivity, Scale, Wake
from moorage.deployments.observed import SILENT, Seen
from moorage.deployments.planner import DesiredModel
from moorage.deployments.queries import spec_of
from moorage.fleet import database_clock

log = logging.getLogger(__name__)

R = ReplicaStatus


def desired(seen: Seen, *, is_off: bool, now: dt.datetime) -> tuple[DesiredModel, ...]:
    """How many replicas each model of the target should have from now on; a changed decision is written down."""
    deployment = seen.deployment
    assert deployment.target is not None
    scales = {scale.model_key: scale for scale in deployment.scales.all()}
    wakes = set(Wake.objects.filter(deployment_id=deployment.pk).values_list("model_key", flat=True))
    wanted = []
    for model in spec_of(deployment.target).models:
        scale = scales.get(model.key)
        if scale is None:
            scale = Scale.objects.create(
                deployment=deployment, model_key=model.key, wanted=max(model.scale.min, 1), why="New."
            )
        decision = autoscaler.decide(
            policy_of(model, slots=seen.pins[model.key].slots, now=now),
            _load(seen, model.key, scale, is_wake_requested=model.key in wakes, now=now),
            current=scale.wanted,
            memory=autoscaler.Memory(
                window=LoadWindow.of_json(scale.window),
                surplus_since=scale.surplus_since,
                panic_until=scale.panic_until,
            ),
            is_off=is_off,
            now=now,
        )
        _write(deployment, scale, decision, now)
        wanted.append(DesiredModel(key=model.key, revision_id=deployment.target.pk, wanted=decision.count))
    return tuple(wanted)


def policy_of(model: ModelSpec, *, slots: int, now: dt.datetime) -> autoscaler.Policy:
    """What the Compose file asks for at this moment."""
    scale = model.scale
    floor = schedules.floor(scale.schedule, now=now)
    is_scheduled = floor is not None and floor.min > scale.min
    return autoscaler.Policy(
        minimum=floor.min if floor is not None and is_scheduled else scale.min,
        maximum=scale.max,
        idle_seconds=scale.idle_seconds,
        slots=slots,
        target=scale.target,
        warm=scale.warm,
        down_delay_seconds=scale.down_delay_seconds,
        schedule=schedules.sentence(floor) if floor is not None and is_scheduled else "",
    )


def _write(deployment: Deployment, scale: Scale, decision: autoscaler.Wanted, now: dt.datetime) -> None:
    """What the next decision needs; and the number with its reason where it is another one."""
    memory = decision.memory
    changes: dict[str, object] = {
        "window": memory.window.to_json(),
        "surplus_since": memory.surplus_since,
        "panic_until": memory.panic_until,
    }
    is_news = decision.count != scale.wanted
    if is_news:
        changes |= {"wanted": decision.count, "why": decision.why[:300], "decided_at": now}
    elif all(getattr(scale, name) == value for name, value in changes.items()):
        return
    # Guarded by what was read: an apply in between has decided for itself.
    with transaction.atomic():
        if not Scale.objects.filter(pk=scale.pk, decided_at=scale.decided_at).update(**changes) or not is_news:
            return
        scale_history.note(
            deployment,
            model_key=scale.model_key,
            before=scale.wanted,
            wanted=decision.count,
            why=decision.why,
            signals=decision.signals,
            at=now,
        )
    log.info(
        "scaled deployment=%s model=%s from=%d to=%d why=%s",
        deployment.pk,
        scale.model_key,
        scale.wanted,
        decision.count,
        decision.why,
    )


def want_one_fewer(replica: Replica, *, why: str) -> None:
    """``replica`` makes way for another: its model has one fewer from now on, until somebody asks for it. Call it in
    the transaction of the deed."""
    scale = Scale.objects.select_for_update().filter(deployment_id=replica.deployment_id, model_key=replica.model_key)
    found = scale.first()
    if found is None or not found.wanted:
        return
    now = database_clock.now()
    scale.update(wanted=found.wanted - 1, why=why[:300], decided_at=now, surplus_since=None, panic_until=None)
    scale_history.note(
        replica.deployment,
        model_key=replica.model_key,
        before=found.wanted,
        wanted=found.wanted - 1,
        why=why,
        signals={"gave_way": replica.pk},
        at=now,
    )


def _load(seen: Seen, model_key: str, scale: Scale, *, is_wake_requested: bool, now: dt.datetime) -> autoscaler.Load:
    deployment = seen.deployment
    in_flight = waiting = 0
    queue_seconds = 0.0
    kv_used: dict[str, float] = {}
    last_active = scale.active_at
    for activity in RouteActivity.objects.filter(route_id=routes.route_id(deployment.pk, model_key)):
        if activity.reported_at > now - SILENT:
            in_flight += activity.in_flight
            waiting += activity.waiting
            if activity.waiting and activity.waiting_since is not None:
                queue_seconds = max(queue_seconds, (now - activity.waiting_since).total_seconds())
            for replica_id, used in activity.kv_used.items():
                kv_used[replica_id] = max(kv_used.get(replica_id, 0.0), min(float(used), 1.0))
        if activity.last_request_at is not None:
            last_active = max(last_active, activity.last_request_at)
    ready = [one.id for one in seen.replicas if one.model_key == model_key and one.status == R.READY]
    # A replica that has just come up has its whole idle time before it.
    ready_at = (
        deployment.replicas.filter(model_key=model_key, status=R.READY)
        .order_by("-status_changed_at")
        .values_list("status_changed_at", flat=True)
        .first()
    )
    if ready_at is not None:
        last_active = max(last_active, ready_at)
    elif scale.wanted:
        # Nobody can call what is not up: a long pull, or a worker that was away, uses up no idle time.
        last_active = now
    return autoscaler.Load(
        in_flight=in_flight,
        waiting=waiting,
        queue_seconds=queue_seconds,
        ready=len(ready),
        kv_used=tuple(kv_used[replica_id] for replica_id in ready if replica_id in kv_used),
        is_wake_requested=is_wake_requested,
        last_active_at=last_active,
    )
