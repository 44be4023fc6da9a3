"""How the models of a deployment sleep: what their owner and the operator say, what was measured, who needs memory."""

import datetime as dt
from collections.abc import Mapping

from django.conf import settings

from moorage.deployments import awakenings, tiers
from moorage.deployments.models import Deployment, Replica, ReplicaStatus
from moorage.deployments.queries import spec_of
from moorage.deployments.reasons import Reason

R = ReplicaStatus


def beds_of(deployment: Deployment) -> Mapping[str, tiers.Bed]:
    """By model key of the target."""
    assert deployment.target is not None
    if not deployment.replicas.filter(status__in=[R.DRAINING, R.FROZEN, R.STOPPED]).exists():
        return {}
    defaults = _policy(settings.MOORAGE_SLEEP_FROZEN_SECONDS, settings.MOORAGE_SLEEP_STOPPED_SECONDS)
    most = _policy(settings.MOORAGE_SLEEP_FROZEN_MOST_SECONDS, settings.MOORAGE_SLEEP_STOPPED_MOST_SECONDS)
    wakes = awakenings.times(deployment)
    is_pressed = Replica.objects.filter(status=R.PENDING, reason_code=Reason.NO_CAPACITY.code).exists()
    return {
        model.key: tiers.Bed(
            policy=tiers.policy_of(
                model.sleep, defaults=defaults, most=most, wakes=wakes.get(model.key, tiers.NOT_MEASURED)
            ),
            wakes=wakes.get(model.key, tiers.NOT_MEASURED),
            is_pressed=is_pressed,
        )
        for model in spec_of(deployment.target).models
    }


def _policy(frozen_seconds: int, stopped_seconds: int) -> tiers.Policy:
    return tiers.Policy(frozen=dt.timedelta(seconds=frozen_seconds), stopped=dt.timedelta(seconds=stopped_seconds))
