"""Route rows: what the gateways serve from. One a model of a deployment, rewritten only when its content changes."""

import math
from collections.abc import Mapping, Sequence

import msgspec
from django.db import transaction

from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Route, Wake
from moorage.deployments.pins import Pin
from moorage.deployments.progress import NO_PROGRESS
from moorage.deployments.summary import Standing
from moorage.fleet import engines
from moorage.kernel import clock
from moorage.wire.records import ReplicaAddress
from moorage.wire.records import Route as WireRoute

_STATUS = {
    DeploymentStatus.READY: "ready",
    DeploymentStatus.DEGRADED: "failed",
    DeploymentStatus.FAILED: "failed",
    DeploymentStatus.IDLE: "idle",
    DeploymentStatus.PAUSED: "paused",
}


def route_id(deployment_id: str, model_key: str) -> str:
    """The key of a route row."""
    return f"{deployment_id}:{model_key}"


def build(deployment: Deployment, pin: Pin, standing: Standing, serving: Sequence[Replica]) -> WireRoute:
    """The route of one model. ``serving`` are ready replicas of one revision; pure."""
    replicas = tuple(
        ReplicaAddress(id=replica.pk, socket=replica.socket, slots=engines.slots(replica.argv))
        for replica in sorted(serving, key=lambda one: one.pk)
    )
    progress = NO_PROGRESS if replicas else standing.progress
    return WireRoute(
        id=route_id(deployment.pk, pin.model_key),
        organization_id=deployment.organization_id,
        served_name=pin.served_name,
        deployment_id=deployment.pk,
        deployment_name=deployment.name,
        model_key=pin.model_key,
        revision_id=serving[0].revision_id if serving else str(deployment.target_id),
        engine=pin.engine,
        kind=pin.kind,
        context_size=pin.context_size,
        status="ready" if replicas else _STATUS.get(standing.status, "provisioning"),
        reason="" if replicas else standing.reason.explain(standing.detail),
        replicas=replicas,
        created_at=int(deployment.created_at.timestamp()),
        stage=progress.stage,
        percent=progress.percent,
        expected_at=math.ceil(progress.expected_at.timestamp()) if progress.expected_at else 0,
        has_chat_template=pin.has_chat_template,
        has_tools=pin.has_tools,
    )


def publish(
    deployment: Deployment, target_pins: Mapping[str, Pin], standings: Mapping[str, Standing], *, epoch: int
) -> None:
    """Brings the route rows of ``deployment`` to what its replicas are now, if ``epoch`` still holds it.

    A model served by an earlier revision while the target's comes up keeps that revision's pin. Routes of models that
    are not wanted any more go at once. A wake is answered once its route has a replica.
    """
    with transaction.atomic():
        held = Deployment.objects.select_for_update().filter(pk=deployment.pk, epoch=epoch).first()
        if held is None or held.status in {DeploymentStatus.DELETING, DeploymentStatus.DELETED}:
            return
        if held.target_id != deployment.target_id:
            return
        ready = list(
            deployment.replicas.filter(status=ReplicaStatus.READY).select_related("revision").order_by("created_at")
        )
        kept = []
        for key, target_pin in target_pins.items():
            mine = [replica for replica in ready if replica.model_key == key]
            serving = [replica for replica in mine if replica.revision_id == deployment.target_id]
            pin = target_pin
            if not serving and mine:
                newest = max(mine, key=lambda replica: replica.revision.number).revision
                serving = [replica for replica in mine if replica.revision_id == newest.pk]
                pin = Pin.from_json(newest.pins[key])
            _write(deployment, build(deployment, pin, standings[key], serving))
            kept.append(route_id(deployment.pk, key))
            if serving:
                Wake.objects.filter(route_id=kept[-1]).delete()
        Route.objects.filter(deployment=deployment).exclude(pk__in=kept).delete()


def _write(deployment: Deployment, route: WireRoute) -> None:
    document = msgspec.to_builtins(route)
    existing = Route.objects.filter(pk=route.id).first()
    if existing is not None and existing.document == msgspec.json.decode(msgspec.json.encode(document)):
        return
    Route.objects.update_or_create(
        pk=route.id,
        defaults={
            "organization_id": deployment.organization_id,
            "deployment": deployment,
            "model_key": route.model_key,
            "served_name": route.served_name,
            "document": document,
            "changed_at": clock.now(),
        },
    )
