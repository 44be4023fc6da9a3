"""Whose room a new replica waits for: that of those it replaces, where owner or node allow one at a time."""

from moorage.deployments.models import Replica, ReplicaStatus
from moorage.deployments.queries import spec_of
from moorage.fleet import services as fleet
from moorage.fleet.placement import Demand

R = ReplicaStatus


def replaced(replica: Replica) -> list[Replica]:
    """Replicas of other revisions of its model that may still have a container or room."""
    others = Replica.objects.filter(deployment_id=replica.deployment_id, model_key=replica.model_key)
    return list(others.exclude(revision_id=replica.revision_id).exclude(status=R.GONE))


def must_wait(replica: Replica) -> bool:
    """The owner wants never two at a time (strategy ``hold``), and another is there."""
    strategy = spec_of(replica.revision).model(replica.model_key).update.strategy
    return strategy == "hold" and bool(replaced(replica))


def would_have_room(replica: Replica, demand: Demand) -> bool:
    """Whether a node that has no room for it now would, once the replicas that it replaces are gone from there."""
    others = [other.pk for other in replaced(replica)]
    return bool(others) and fleet.would_fit(
        organization_id=replica.deployment.organization_id, demand=demand, without=others
    )
