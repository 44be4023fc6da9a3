"""The Celery application: the muscle and the doorbell. The memory is PostgreSQL."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "moorage.config.settings")

app = Celery("moorage")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
