"""Remove every runner of this instance; `./manage.py down` calls it last."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moorage.fleet import runtimes
from moorage.fleet.errors import FleetError


class Command(BaseCommand):
    """Stops and removes all containers that carry this instance's label. Needs no database."""

    help = "Stop and remove every runner of this instance."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """`--grace`: how long a runner may take to end by itself."""
        parser.add_argument("--grace", type=float, default=5.0, help="seconds between SIGTERM and SIGKILL")

    def handle(self, *args: Any, grace: float, **options: Any) -> None:  # noqa: ARG002
        """Removes them side by side, and fails loudly if one might be left."""
        runtime = runtimes.of_operator()
        try:
            names = [container.name for container in runtime.list()]
            with ThreadPoolExecutor(max_workers=8) as pool:
                list(pool.map(lambda name: runtime.remove(name, grace_seconds=grace), names))
        except FleetError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"stopped {len(names)} runners")
