"""The doorbell: hears in PostgreSQL that work is due and rings Celery. It holds nothing and may die at any time."""

import logging
import time
from collections.abc import Callable
from typing import Final

import psycopg

from moorage.deployments import tasks
from moorage.wire.records import WAKE_REQUESTED, WORK_CHANGED

log = logging.getLogger(__name__)

_RECONNECT_SECONDS: Final = 1.0
_LISTEN_SECONDS: Final = 30.0
#: What the waker needs at most to be done with what is quick.
_WAKER_SECONDS: Final = 1.0


def ring_late(deployment_id: str) -> None:
    """For a wake: the waker hears it as well, and is quicker where it can be."""
    tasks.reconcile_deployment.apply_async((deployment_id,), countdown=_WAKER_SECONDS)


def listen(
    url: str,
    *,
    ring: Callable[[str], object] = tasks.reconcile_deployment.delay,
    ring_wake: Callable[[str], object] = ring_late,
) -> None:
    """Rings for every deployment id that PostgreSQL announces, for ever; reconnects when the database goes away.

    A wake may come for a deployment whose look is not due; the wake row itself makes it so.
    """
    while True:
        try:
            with psycopg.connect(url, autocommit=True, application_name="moorage-doorbell") as connection:
                connection.execute(f"LISTEN {WAKE_REQUESTED}")
                connection.execute(f"LISTEN {WORK_CHANGED}")
                log.info("doorbell_listening")
                while True:
                    for notice in connection.notifies(timeout=_LISTEN_SECONDS):
                        (ring_wake if notice.channel == WAKE_REQUESTED else ring)(notice.payload)
                    connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            log.warning("doorbell_disconnected error=%s", str(error).strip())
            time.sleep(_RECONNECT_SECONDS)
