"""A runner's last lines, for people. Only the provisioning worker can read them, so asking is a message to it."""

import time
from typing import Final

from kombu.exceptions import OperationalError

from moorage.deployments import tasks
from moorage.deployments.models import Replica, ReplicaLog, ReplicaStatus
from moorage.kernel import clock

_PATIENCE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.05


def tail(replica: Replica) -> str:
    """The last lines (at most 200) of ``replica``'s runner: fresh if the worker answers in time, else those known."""
    asked_at = clock.now()
    if replica.status != ReplicaStatus.GONE and replica.container_name:
        try:
            tasks.fetch_log.delay(replica.pk)
        except OperationalError:
            return _known(replica)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if ReplicaLog.objects.filter(replica=replica, fetched_at__gte=asked_at).exists():
                break
            time.sleep(_PAUSE_SECONDS)
    return _known(replica)


def _known(replica: Replica) -> str:
    return ReplicaLog.objects.filter(replica=replica).values_list("text", flat=True).first() or ""
