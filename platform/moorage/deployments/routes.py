"""Route rows: what the gateways serve from. One a model of a deployment, rewritten only when its content changes."""

import dataclasses
import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.db import transaction

from moorage.deployments import updates
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Route, Wake
from moorage.deployments.pins import Pin
from moorage.deployments.progress import NO_PROGRESS
from moorage.deployments.reasons import Reason
from moorage.deployments.states import RouteChange
from moorage.deployments.summary import Standing
from moorage.fleet import database_clock, engines
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Serving:
    """Who serves a model, as which pin; with a trial, the share of each revision by its id."""

    pin: Pin
    replicas: Sequence[Replica] = ()
    weights: Mapping[str, int] = dataclasses.field(default_factory=dict)
    trial: str = ""


def build(deployment: Deployment, standing: Standing, serving: Serving) -> WireRoute:
    """The route of one model; pure."""
    pin = serving.pin
    replicas = tuple(
        ReplicaAddress(
            id=replica.pk,
            socket=replica.socket,
            slots=engines.slots(replica.argv),
            revision_id=replica.revision_id,
            weight=serving.weights.get(replica.revision_id, 0),
        )
        for replica in sorted(serving.replicas, key=lambda one: one.pk)
    )
    progress = NO_PROGRESS if replicas else standing.progress
    return WireRoute(
        id=route_id(deployment.pk, pin.model_key),
        organization_id=deployment.organization_id,
        served_name=pin.served_name,
        deployment_id=deployment.pk,
        deployment_name=deployment.name,
        model_key=pin.model_key,
        revision_id=serving.replicas[0].revision_id if serving.replicas else str(deployment.target_id),
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
        trial=serving.trial if replicas else "",
    )


def serving_of(
    key: str, ready: Sequence[Replica], pin: Pin, *, target_id: str, wanted: int, trial: updates.Trial | None
) -> Serving:
    """Who of the ``ready`` replicas of a model serves, the target's ``pin`` given.

    1. On trial: its revision and the one before, by their weights, once both have a replica.
    2. The target's, when they are as many as wanted; until then with those of the newest revision before, if their
       engines are spoken to alike. Else whichever of the two are more, or there at all.
    """
    new = [replica for replica in ready if replica.revision_id == target_id]
    if trial is not None and (weights := trial.weights(key)):
        before = [replica for replica in ready if replica.revision_id == trial.update.baseline_id]
        if before and not new:
            return Serving(pin=trial.pins[key], replicas=before)
        if before:
            shared = _shared(trial.pins[key], pin)
            return Serving(pin=shared, replicas=[*before, *new], weights=weights, trial=trial.update.pk)
    old = [replica for replica in ready if replica.revision_id != target_id]
    if not old or len(new) >= max(wanted, 1):
        return Serving(pin=pin, replicas=new)
    newest = max(old, key=lambda replica: replica.revision.number).revision
    last = [replica for replica in old if replica.revision_id == newest.pk]
    last_pin = Pin.from_json(newest.pins[key])
    if not new:
        return Serving(pin=last_pin, replicas=last)
    if not updates.may_share(last_pin, pin):
        # A move to another engine is one of all at once: until all of the new ones are there, whoever is more serves.
        return Serving(pin=last_pin, replicas=last) if len(last) >= len(new) else Serving(pin=pin, replicas=new)
    return Serving(pin=_shared(last_pin, pin), replicas=[*new, *last])


def _shared(one: Pin, other: Pin) -> Pin:
    """What both can do."""
    return dataclasses.replace(
        one,
        context_size=min(one.context_size, other.context_size),
        has_chat_template=one.has_chat_template and other.has_chat_template,
        has_tools=one.has_tools and other.has_tools,
    )


def publish(
    deployment: Deployment,
    target_pins: Mapping[str, Pin],
    standings: Mapping[str, Standing],
    *,
    wanted: Mapping[str, int],
    trial: updates.Trial | None,
    epoch: int,
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
            serving = serving_of(
                key,
                mine,
                target_pin,
                target_id=str(deployment.target_id),
                wanted=wanted.get(key, 1),
                trial=trial,
            )
            _write(deployment, build(deployment, standings[key], serving))
            kept.append(route_id(deployment.pk, key))
            if serving.replicas:
                Wake.objects.filter(route_id=kept[-1]).delete()
        Route.objects.filter(deployment=deployment).exclude(pk__in=kept).delete()


def publish_model(deployment: Deployment, key: str) -> None:
    """The route of one model of the target, with the replicas of the target that are ready now; call it with the
    deployment's row locked. Without any, and during an update, nothing is changed: a look knows better."""
    assert deployment.target is not None
    ready = list(
        deployment.replicas.filter(status=ReplicaStatus.READY, model_key=key, revision=deployment.target).order_by(
            "created_at"
        )
    )
    if ready and key in deployment.target.pins:
        serving = Serving(pin=Pin.from_json(deployment.target.pins[key]), replicas=ready)
        standing = Standing(status=DeploymentStatus.READY, reason=Reason.SERVING)
        _write(deployment, build(deployment, standing, serving))


def change(replica: Replica) -> RouteChange | None:
    """What the route of ``replica`` becomes when it is ready alone; None where it is not of its deployment's target."""
    deployment, target = replica.deployment, replica.deployment.target
    if target is None or replica.revision_id != target.pk:
        return None
    serving = Serving(pin=Pin.from_json(target.pins[replica.model_key]), replicas=[replica])
    route = build(deployment, Standing(status=DeploymentStatus.READY, reason=Reason.SERVING), serving)
    route = msgspec.structs.replace(route, version=_version(database_clock.now()))
    return RouteChange(
        route_id=route.id, target_id=target.pk, version=route.version, document=msgspec.to_builtins(route)
    )


def _version(now: dt.datetime) -> int:
    """A change has one of its own, by which gateways say that they have heard of it."""
    return int(now.timestamp() * 1_000_000)


def _write(deployment: Deployment, route: WireRoute) -> None:
    existing = Route.objects.filter(pk=route.id).first()
    now = database_clock.now()
    version = _version(now)
    if existing is not None:
        known = existing.document.get("version", 0)
        same = msgspec.structs.replace(route, version=known)
        if existing.document == msgspec.json.decode(msgspec.json.encode(same)):
            return
        version = max(version, known + 1)
    document = msgspec.to_builtins(msgspec.structs.replace(route, version=version))
    content: dict[str, Any] = {
        "organization_id": deployment.organization_id,
        "deployment": deployment,
        "model_key": route.model_key,
        "served_name": route.served_name,
        "document": document,
        "changed_at": now,
    }
    # The deployment's row is locked: nobody else writes its routes.
    if existing is None or not Route.objects.filter(pk=route.id).update(**content):
        Route.objects.create(pk=route.id, **content)
