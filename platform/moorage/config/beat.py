"""What beat sends and how often. The sweeps: work is found here even when every message was lost.

Beat counts by a clock that only runs. By the wall clock, which Celery takes where nothing is said, one that is put back
an hour would stop every sweep for an hour.
"""

import datetime as dt
import time
from collections.abc import Callable
from typing import Any, Final

from celery import schedules

from moorage.kernel import clock

_EVERY_SECONDS: Final = (
    ("sweep-deployments", "moorage.deployments.tasks.sweep", 5.0),
    ("reap-orphans", "moorage.deployments.tasks.reap_orphans", 20.0),
    ("report-remains", "moorage.deployments.tasks.report_remains", 300.0),
    ("check-vitality", "moorage.deployments.tasks.check_vitality", 5.0),
    ("meter-replicas", "moorage.deployments.tasks.meter_replicas", 10.0),
    ("forget-history", "moorage.deployments.tasks.forget_history", 600.0),
    ("rate-usage", "moorage.billing.tasks.rate", 2.0),
    ("run-billing", "moorage.billing.tasks.sweep", 30.0),
    ("reconcile", "moorage.billing.tasks.reconcile", 15.0),
    ("watch-usage", "moorage.billing.tasks.watch_usage", 60.0),
    ("reconcile-runtime", "moorage.billing.tasks.reconcile_runtime", 15.0),
)


class SteadyClock:
    """Tells what the wall clock said when it was made, and what has passed since by the clock that only runs."""

    def __init__(
        self, *, wall: Callable[[], dt.datetime] = clock.now, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self._began, self._zero = wall(), seconds()

    def __call__(self) -> dt.datetime:
        """The time."""
        return self._began + dt.timedelta(seconds=self.seconds() - self._zero)


def schedule(*, now: Callable[[], dt.datetime]) -> dict[str, dict[str, Any]]:
    """Celery's beat_schedule by the clock ``now``. Every sweep is due when beat starts: nobody knows what was before.

    No expiry: a worker's clock would have to agree with beat's. What has piled up is one statement each, because a
    sweep that is not due is none (deployments/sweep_turns.py).
    """
    return {
        name: {
            "task": task,
            "schedule": schedules.schedule(seconds, nowfun=now),
            "last_run_at": now() - dt.timedelta(seconds=seconds),
            "options": {"headers": {"every": seconds}},
        }
        for name, task, seconds in _EVERY_SECONDS
    }


steady_now: Final = SteadyClock()
SCHEDULE: Final = schedule(now=steady_now)
