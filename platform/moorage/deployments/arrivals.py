"""What is done at once when a request arrives for a model that sleeps: the short way, for the plain case.

It makes the wish (wake the one that wakes quickest, or create one), drives it, and tells the gateways. It decides
nothing that reconcile would not decide: whatever is not plain (an update under way, a model that has failed, somebody
who does not pay) is left to reconcile, which looks at all of it afterwards in any case and may be the only one to run.
"""

import dataclasses
import datetime as dt
import logging
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from django.db import transaction
from django.db.models import Aggregate, Exists, JSONField, OuterRef, Subquery

from moorage.deployments import leases, life, routes, settling, states
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Update, Wake
from moorage.deployments.observed import off_reason
from moorage.deployments.reasons import Reason
from moorage.fleet import database_clock
from moorage.fleet.runtime import ContainerRuntime

log = logging.getLogger(__name__)

R = ReplicaStatus
#: How long a look that is going on is waited for before a replica is created beside it.
_PATIENCE_SECONDS: Final = 0.3
_PAUSE: Final = 0.003
_ORDER: Final = {R.DRAINING: 0, R.FROZEN: 1, R.STOPPED: 2}
#: By model key, since when somebody waits for it.
_WAKES: Final = (
    Wake.objects.filter(deployment_id=OuterRef("pk"))
    .values("deployment_id")
    .annotate(all=Aggregate("model_key", "requested_at", function="jsonb_object_agg", output_field=JSONField()))
    .values("all")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wished:
    """A replica that somebody waits for, since then, and that takes a driver; ``taken`` where that is us already."""

    replica_id: str
    since: dt.datetime
    taken: life.Taken | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Asked:
    """One question to the database: the deployment, and since when somebody waits for which model."""

    deployment: Deployment
    since: Mapping[str, dt.datetime]
    is_updating: bool


def _ask(deployment_id: str) -> _Asked | None:
    deployment = (
        Deployment.objects.select_related("target", "organization")
        .annotate(
            wakes=Subquery(_WAKES, output_field=JSONField()),
            is_updating=Exists(Update.objects.filter(deployment=OuterRef("pk"), state__in=Update.OPEN)),
        )
        .filter(pk=deployment_id)
        .first()
    )
    if deployment is None:
        return None
    found = vars(deployment)
    wakes: Mapping[str, str] = found["wakes"] or {}
    return _Asked(
        deployment=deployment,
        since={key: dt.datetime.fromisoformat(at) for key, at in wakes.items()},
        is_updating=found["is_updating"],
    )


def wished(deployment_id: str) -> tuple[Wished, ...]:
    """The replicas that somebody waits for and that have to be driven, one a model; marked as wanted, or made. The
    first of them is taken at once, where nobody is at it.

    Those that serve already, or will without a driver, have their route published and are not among them.
    """
    asked = _ask(deployment_id)
    if asked is None or not _is_plain(asked):
        return ()
    deployment, target = asked.deployment, asked.deployment.target
    assert target is not None
    keys = {key: since for key, since in asked.since.items() if key in target.pins}
    if not keys:
        return ()
    present = list(deployment.replicas.exclude(status=R.GONE).filter(model_key__in=keys))
    found: list[Wished] = []
    for key, since in sorted(keys.items()):
        mine = [one for one in present if one.model_key == key]
        current = [one for one in mine if one.revision_id == target.pk]
        if serving := [one for one in mine if one.status == R.READY]:
            # Unless it is ready in the books alone.
            if any(settling.listens(one.socket) for one in serving):
                announce(deployment, key)
        elif asleep := sorted((one for one in current if one.status in _ORDER), key=_quickness):
            one = asleep[0]
            one.deployment, one.revision = deployment, target
            if not found and one.status in states.ASLEEP and (epoch := _take(one)) is not None:
                taken = life.Taken(replica=one, epoch=epoch)
                found.append(Wished(replica_id=one.pk, since=since, taken=taken))
            elif states.ask_awake(one):
                found.append(Wished(replica_id=one.pk, since=since))
            elif one.status == R.READY:
                announce(deployment, key)
        elif not mine and (created := _create(deployment, key, is_taken=not found)):
            made = life.Taken(replica=created, epoch=created.epoch) if not found else None
            found.append(Wished(replica_id=created.pk, since=since, taken=made))
    return tuple(found)


def _take(asleep: Replica) -> int | None:
    return leases.claim_sleeper(asleep, now=database_clock.now())


def _is_plain(asked: _Asked) -> bool:
    deployment = asked.deployment
    if deployment.target is None or deployment.status in {DeploymentStatus.DELETING, DeploymentStatus.DELETED}:
        return False
    return off_reason(deployment) is None and not asked.is_updating


def _quickness(one: Replica) -> tuple[int, float]:
    return _ORDER[R(one.status)], -one.status_changed_at.timestamp()


def _create(deployment: Deployment, key: str, *, is_taken: bool) -> Replica | None:
    """A new replica under the deployment's lease, so that no look creates another, and with its own lease held where
    ``is_taken``; None where it is for reconcile."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (epoch := leases.claim(Deployment, deployment.pk)) is None:
        if time.monotonic() > deadline:
            return None
        time.sleep(_PAUSE)
    assert deployment.target is not None
    try:
        newest = Replica.objects.filter(deployment=OuterRef("pk"), model_key=key).order_by("-created_at")
        held = (
            Deployment.objects.filter(pk=deployment.pk, target=deployment.target)
            .values_list(Subquery(newest.values("status")[:1]), Subquery(newest.values("failed_at")[:1]))
            .first()
        )
        if held is None or held[0] not in {None, R.GONE} or held[1] is not None:
            return None
        now = database_clock.now()
        return Replica.objects.create(
            deployment=deployment,
            revision=deployment.target,
            model_key=key,
            reason_code=Reason.NEW.code,
            reason=Reason.NEW.explain(),
            created_at=now,
            epoch=int(is_taken),
            lease_until=now + leases.LEASE if is_taken else None,
        )
    finally:
        leases.give_back(Deployment, deployment.pk, epoch)


def bring(one: Wished, *, runtime: ContainerRuntime, marks: Mapping[str, dt.datetime] = MappingProxyType({})) -> None:
    """Drives one that is wished for, and tells the gateways when it can serve. ``marks``: what was passed before."""
    wish = life.Wish(
        since=one.since,
        marks=marks,
        when_ready=lambda ready: announce(ready.deployment, ready.model_key),
        route=routes.change,
    )
    if one.taken is not None:
        life.drive_taken(one.taken, runtime=runtime, wish=wish)
    else:
        life.drive(one.replica_id, runtime=runtime, wish=wish)


def announce(deployment: Deployment, key: str) -> None:
    """The route of one model with the replicas that are ready now. The wake stays: the look that follows answers it,
    and wants a replica because of it."""
    with transaction.atomic():
        held = Deployment.objects.select_for_update().filter(pk=deployment.pk, target=deployment.target).first()
        if held is None or held.is_paused or held.status in {DeploymentStatus.DELETING, DeploymentStatus.DELETED}:
            return
        routes.publish_model(deployment, key)
