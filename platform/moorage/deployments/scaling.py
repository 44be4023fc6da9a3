"""From what the gateways report to how many replicas are wanted: the autoscaler's caller, and the writer of Scale."""

import datetime as dt
import logging

from moorage.deployments import autoscaler, routes
from moorage.deployments.models import Deployment, ReplicaStatus, RouteActivity, Scale, Wake
from moorage.deployments.observed import SILENT, Seen
from moorage.deployments.planner import DesiredModel
from moorage.deployments.queries import spec_of
from moorage.kernel import clock

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
