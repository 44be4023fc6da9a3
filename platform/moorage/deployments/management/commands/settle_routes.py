"""`./manage.py settle_routes`: before the gateway serves, no route leads to an engine that is not there any more."""

from typing import Any

from django.core.management.base import BaseCommand

from moorage.deployments import settling
from moorage.fleet import runtimes


class Command(BaseCommand):
    """Looks at every deployment whose replicas do not answer; `./manage.py up` calls it before it starts anything."""

    help = "Withdraw routes to engines that ended while Moorage was not running."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Says how many deployments it looked at."""
        found = settling.settle(runtime=runtimes.of_operator())
        self.stdout.write(f"settled {len(found)} deployments")
