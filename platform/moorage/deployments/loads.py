"""What the gateways have given to each replica, and whether they know already that it gets nothing more.

A draining replica may end when nobody has a request in it and nobody will send another one: its route does not name it
any more, and every gateway that spoke lately has heard of that. Until then it counts as busy, whatever was reported.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Final

from moorage.deployments.models import Deployment, Replica, ReplicaStatus, Route, RouteActivity
from moorage.fleet import database_clock

#: A gateway that has said nothing for so long has no say in the load.
SILENT: Final = dt.timedelta(seconds=15)


def in_flight(deployment: Deployment, replicas: Iterable[Replica]) -> dict[str, int]:
    """Requests in flight by replica id; at least one for a draining replica that may still get some."""
    totals: dict[str, int] = {}
    heard: dict[str, list[int]] = {}
    fresh = database_clock.now() - SILENT
    for activity in RouteActivity.objects.filter(route_id__startswith=f"{deployment.pk}:", reported_at__gt=fresh):
        if activity.heard:
            heard.setdefault(activity.route_id, []).append(activity.heard)
        for replica_id, count in activity.replicas.items():
            totals[replica_id] = totals.get(replica_id, 0) + int(count)
    draining = [replica for replica in replicas if replica.status == ReplicaStatus.DRAINING]
    documents = dict(Route.objects.filter(deployment=deployment).values_list("id", "document")) if draining else {}
    for replica in draining:
        route_id = f"{deployment.pk}:{replica.model_key}"
        document = documents.get(route_id)
        if document is None:
            continue
        is_named = any(address["id"] == replica.pk for address in document.get("replicas", ()))
        if is_named or any(known < document.get("version", 0) for known in heard.get(route_id, ())):
            totals[replica.pk] = max(totals.get(replica.pk, 0), 1)
    return totals
