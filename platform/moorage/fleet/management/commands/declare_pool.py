"""Read a pool file once, for trying it out: `manage.py declare_pool pool.yaml`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from moorage.fleet import declared_pool
from moorage.fleet.errors import PoolInvalid


class Command(BaseCommand):
    """Makes the declared nodes those of the file. MOORAGE_POOL does the same whenever a worker reports itself."""

    help = "Declare an emulated pool: nodes and GPUs that are not there, for placement alone."

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, and whether it is only checked."""
        parser.add_argument("file", type=Path, help="YAML or JSON; the form is in platform/moorage/fleet/README.md")
        parser.add_argument("--check", action="store_true", help="say what it declares and write nothing")

    def handle(self, *args: Any, file: Path, check: bool, **options: Any) -> None:  # noqa: ARG002
        """Declares, and says how much."""
        try:
            pool = declared_pool.read(file)
            if not check:
                declared_pool.declare(pool)
        except PoolInvalid as error:
            raise CommandError(error.message) from error
        devices = sum(len(node.devices) for node in pool.nodes)
        self.stdout.write(f"{len(pool.nodes)} nodes with {devices} devices {'are right' if check else 'are declared'}.")
