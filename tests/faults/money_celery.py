"""The steps of the money path under the platform's own Celery application: a real worker, a real beat, a real broker.

``python -m celery -A tests.faults.money_celery:app worker|beat``. Beat rings every step several times a second; what is
not heard within seconds is not heard at all, as with the platform's own sweeps.
"""

import functools
from typing import Final

from django.db import InterfaceError, OperationalError, connection

from moorage.config.celery import app
from tests.faults import money_worker

QUEUE: Final = "money"
STEPS: Final = ("rater", "closer", "sender", "applier", "shopper", "refunder", "exporter")

_step = functools.cache(money_worker.step_named)


@app.task(name="money.step")  # type: ignore[untyped-decorator]
def step(name: str) -> None:
    """One step; a database that is away is waited for until the next ring."""
    try:
        _step(name)()
    except (OperationalError, InterfaceError):
        connection.close()


app.conf.beat_schedule = {
    name: {"task": "money.step", "schedule": 0.5, "args": (name,), "options": {"queue": QUEUE, "expires": 3}}
    for name in STEPS
}
