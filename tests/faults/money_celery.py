"""The steps of the money path under the platform's own Celery application: a real worker, a real beat, a real broker.

``python -m celery -A tests.faults.money_celery:app worker|beat``. Beat rings every step several times a second, in the
way of the platform's own sweeps: whatever has piled up, a step is done if it is its turn
(``deployments/sweep_turns.py``), and one that fails is done at a later ring.
"""

import functools
from typing import Final

from moorage.config.celery import app
from tests.faults import money_worker

QUEUE: Final = "money"
STEPS: Final = ("rater", "closer", "sender", "applier", "shopper", "refunder", "exporter")
EVERY_SECONDS: Final = 0.5

_step = functools.cache(money_worker.step_named)


def _task(name: str) -> None:
    """A task of its own, because turns are kept by the name of the task."""

    @app.task(name=f"money.{name}")  # type: ignore[untyped-decorator]
    def step() -> None:
        _step(name)()


for _name in STEPS:
    _task(_name)

app.conf.beat_schedule = {
    name: {
        "task": f"money.{name}",
        "schedule": EVERY_SECONDS,
        "options": {"queue": QUEUE, "headers": {"every": EVERY_SECONDS}},
    }
    for name in STEPS
}
