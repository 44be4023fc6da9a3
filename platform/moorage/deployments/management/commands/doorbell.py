"""`./manage.py doorbell`: rings Celery when PostgreSQL says that work is due."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection
from psycopg.conninfo import make_conninfo

from moorage.deployments import doorbell


class Command(BaseCommand):
    """Runs until it is stopped."""

    help = "Listen in PostgreSQL for work that is due and ring the provisioning worker."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Listens with the database settings of the control plane."""
        chosen = connection.get_connection_params()
        names = {key: chosen[key] for key in ("dbname", "user", "password", "host", "port") if chosen.get(key)}
        doorbell.listen(make_conninfo(**names))
