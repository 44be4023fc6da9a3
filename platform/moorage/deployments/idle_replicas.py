"""Replicas that nobody calls, and whose room a replica that is wanted may therefore get."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from django.db.models import Q

from moorage.deployments.models import Replica, ReplicaStatus, RouteActivity
from moorage.deployments.queries import spec_of
from moorage.deployments.reasons import Reason
from moorage.deployments.routes import route_id
from moorage.fleet import database_clock
from moorage.fleet.placement import PRIORITIES, Quiet

R = ReplicaStatus
#: A replica that answered nobody for so long is idle, whatever its own idle time is.
QUIET: Final = dt.timedelta(seconds=60)


def nobody_calls(*, below: int) -> Mapping[str, Quiet]:
    """Replica ids, and how each is: all that are on their way out, all that are frozen and not being woken, and of
    models with a priority under ``below`` (of fleet.placement.PRIORITIES) those that are ready and quiet and need not
    be kept warm."""
    leaving = Q(status__in=[R.STOPPING, R.STOPPED]) | Q(status=R.DRAINING, reason_code=Reason.MEMORY_NEEDED.code)
    rows = Replica.objects.filter(leaving | Q(status=R.FROZEN), wake_at=None).values_list("pk", "status")
    found: dict[str, Quiet] = {pk: "asleep" if status == R.FROZEN else "leaving" for pk, status in rows}
    if below > 0:
        now = database_clock.now()
        ready = Replica.objects.filter(status=R.READY, ready_at__lt=now - QUIET).select_related("revision")
        candidates = [replica for replica in ready if _may_sleep(replica, below)]
        routes = {route_id(replica.deployment_id, replica.model_key) for replica in candidates}
        called = {
            activity.route_id
            for activity in RouteActivity.objects.filter(route_id__in=routes)
            if activity.in_flight
            or activity.waiting
            or (activity.last_request_at is not None and activity.last_request_at > now - QUIET)
        }
        found |= {
            replica.pk: "awake"
            for replica in candidates
            if route_id(replica.deployment_id, replica.model_key) not in called
        }
    return found


def _may_sleep(replica: Replica, below: int) -> bool:
    """Its owner wants none kept up, and it comes after those who ask."""
    model = spec_of(replica.revision).model(replica.model_key)
    scale = model.scale
    is_lower = PRIORITIES[model.placement.priority] < below
    return is_lower and not (scale.min or scale.warm or scale.schedule or scale.idle_seconds is None)
