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

from moorage.deployments import leases, life, routes, settling, states, updates
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Wake
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
_ON_ITS_WAY: Final = frozenset({R.PENDING, R.PLACED, R.PULLING, R.STARTING})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wished:
    """A replica that somebody waits for, since then, and that takes a driver."""

    replica_id: str
    since: dt.datetime


def wished(deployment_id: str) -> tuple[Wished, ...]:
    """The replicas that somebody waits for and that have to be driven, one a model; marked as wanted, or made.

    Those that serve already, or will without a driver, have their route published and are not among them.
    """
    deployment = Deployment.objects.select_related("target", "organization").filter(pk=deployment_id).first()
    if deployment is None or not _is_plain(deployment):
        return ()
    target = deployment.target
    assert target is not None
    wakes = Wake.objects.filter(deployment_id=deployment_id).values_list("model_key", "requested_at")
    keys = {key: since for key, since in wakes if key in target.pins}
    if not keys:
        return ()
    present = list(deployment.replicas.exclude(status=R.GONE).filter(model_key__in=keys))
    found = []
    for key, since in sorted(keys.items()):
        mine = [one for one in present if one.model_key == key]
        current = [one for one in mine if one.revision_id == target.pk]
        if serving := [one for one in mine if one.status == R.READY]:
            # Unless it is ready in the books alone.
            if any(settling.listens(one.socket) for one in serving):
                announce(deployment, key)
        elif asleep := sorted((one for one in current if one.status in _ORDER), key=_quickness):
            if states.ask_awake(asleep[0]):
                found.append(Wished(replica_id=asleep[0].pk, since=since))
            elif asleep[0].status == R.READY:
                announce(deployment, key)
        elif not mine and (created := _create(deployment, key)):
            found.append(Wished(replica_id=created, since=since))
    return tuple(found)


def _is_plain(deployment: Deployment) -> bool:
    if deployment.target is None or deployment.status in {DeploymentStatus.DELETING, DeploymentStatus.DELETED}:
        return False
    return off_reason(deployment) is None and updates.open_of(deployment) is None


def _quickness(one: Replica) -> tuple[int, float]:
    return _ORDER[R(one.status)], -one.status_changed_at.timestamp()


def _create(deployment: Deployment, key: str) -> str | None:
    """A new replica under the deployment's lease, so that no look creates another; None where it is for reconcile."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (epoch := leases.claim(Deployment, deployment.pk)) is None:
        if time.monotonic() > deadline:
            return None
        time.sleep(_PAUSE)
    try:
        before = deployment.replicas.filter(model_key=key).order_by("-created_at").first()
        is_for_reconcile = before is not None and (before.status != R.GONE or before.failed_at is not None)
        if is_for_reconcile or not Deployment.objects.filter(pk=deployment.pk, target=deployment.target).exists():
            return None
        replica = Replica.objects.create(
            deployment=deployment,
            revision_id=str(deployment.target_id),
            model_key=key,
            reason_code=Reason.NEW.code,
            reason=Reason.NEW.explain(),
            created_at=database_clock.now(),
        )
        return replica.pk
    finally:
        leases.give_back(Deployment, deployment.pk, epoch)


def bring(one: Wished, *, runtime: ContainerRuntime, marks: Mapping[str, dt.datetime] = MappingProxyType({})) -> None:
    """Drives one that is wished for, and tells the gateways when it can serve. ``marks``: what was passed before."""
    wish = life.Wish(since=one.since, marks=marks, when_ready=lambda ready: announce(ready.deployment, ready.model_key))
    life.drive(one.replica_id, runtime=runtime, wish=wish)


def announce(deployment: Deployment, key: str) -> None:
    """The route of one model with the replicas that are ready now. The wake stays: the look that follows answers it,
    and wants a replica because of it."""
    with transaction.atomic():
        held = Deployment.objects.select_for_update().filter(pk=deployment.pk, target=deployment.target).first()
        if held is None or held.is_paused or held.status in {DeploymentStatus.DELETING, DeploymentStatus.DELETED}:
            return
        routes.publish_model(deployment, key)
