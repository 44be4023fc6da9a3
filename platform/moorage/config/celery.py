"""The Celery application: the muscle and the doorbell. The memory is PostgreSQL."""

import functools
import os
import threading
from typing import Any

from celery import Celery, Task
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moorage.config.settings")


class Sweepable(Task):
    """A task that beat pokes every so often says so in a header, and is done if a sweep of its kind is due."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As it is; where beat has sent it, when it is its turn."""
        every = (self.request.headers or {}).get("every")
        if every is None:
            return super().__call__(*args, **kwargs)
        from moorage.deployments import sweep_turns

        with sweep_turns.taking(self.name, every_seconds=float(every)) as is_ours:
            return super().__call__(*args, **kwargs) if is_ours else None


app = Celery("moorage", task_cls=Sweepable)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_ready.connect
def _wake_at_once(**_of: Any) -> None:
    """The worker that may speak to the container runtime also hears of wakes, and reads runners' lines for whoever
    follows them, beside its tasks."""
    if "provision" not in app.amqp.queues.consume_from:
        return
    from moorage.deployments import log_following, waker
    from moorage.fleet import runtimes

    made = waker.Waker(url=waker.database_url(), runtime=runtimes.configured)
    threading.Thread(target=made.run, name="waker", daemon=True).start()
    watch = functools.partial(log_following.watch, runtimes.configured, stop=threading.Event())
    threading.Thread(target=watch, name="logs", daemon=True).start()
