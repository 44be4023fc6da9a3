"""The composition root: settings, addresses, processes. Everything is put together here and nowhere else."""

from moorage.config.celery import app as celery_app

__all__ = ["celery_app"]
