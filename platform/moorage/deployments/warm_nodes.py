"""Which weights lie where, brought in line with what replicas use and with what this machine's store has."""

import datetime as dt

from moorage.artifacts import services as artifacts
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.fleet import known_weights


def forget(*, now: dt.datetime) -> int:
    """Forgets weights that are not where they were known to be, and those that nobody has used for long; how many."""
    living = Replica.objects.exclude(status=ReplicaStatus.GONE).exclude(node_id="").select_related("revision")
    in_use = {(replica.node_id, str(replica.revision.pins[replica.model_key]["digest"])) for replica in living}
    return known_weights.forget(in_use=in_use, are_here=artifacts.models_here, now=now)
