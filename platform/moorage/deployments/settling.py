"""After a pause of Moorage itself: what was ready then may be gone, and nobody was there to see it."""

import logging
import socket
from pathlib import Path
from typing import Final

from moorage.deployments import reconcile
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.fleet import errors as fleet_errors
from moorage.fleet import sockets
from moorage.fleet.runtime import ContainerRuntime

log = logging.getLogger(__name__)

#: A listening engine accepts at once; its backlog may be full.
_CONNECT_SECONDS: Final = 1.0


def settle(*, runtime: ContainerRuntime) -> tuple[str, ...]:
    """Looks at deployments that have a ready replica whose socket nobody answers; what is not there loses its route.

    Returns their ids. What is to be driven is left to the worker.
    """
    silent = dict.fromkeys(
        deployment_id
        for deployment_id, path in Replica.objects.filter(status=ReplicaStatus.READY)
        .order_by("deployment_id")
        .values_list("deployment_id", "socket")
        if not listens(path)
    )
    for deployment_id in silent:
        try:
            reconcile.reconcile(deployment_id, runtime=runtime)
        except fleet_errors.RuntimeUnreachable as error:
            log.warning("not_settled deployment=%s error=%s", deployment_id, error)
    return tuple(silent)


def listens(path: str) -> bool:
    """Whether somebody listens on the Unix socket at ``path``."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_CONNECT_SECONDS)
        try:
            with sockets.opened(Path(path)) as opened:
                connection.connect(opened)
        except (BlockingIOError, TimeoutError):
            return True
        except OSError:
            return False
    return True
