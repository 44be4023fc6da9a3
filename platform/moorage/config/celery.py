"""The Celery application: the muscle and the doorbell. The memory is PostgreSQL."""

import functools
import os
import threading
from typing import Any

from celery import Celery
from celery.signals import worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moorage.config.settings")

app = Celery("moorage")
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
