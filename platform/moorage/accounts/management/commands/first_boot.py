"""`./manage.py first_boot`: makes the administrator and the demo organization of a new instance, once."""

import dataclasses
import json
from typing import Any

from django.core.management.base import BaseCommand

from moorage.accounts import services


class Command(BaseCommand):
    """Prints the secrets as one JSON line, or ``null`` when the instance has users already."""

    help = "Make the administrator and the demo organization of a new instance; print their secrets as JSON, once."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Runs the service and prints what it gives."""
        boot = services.first_boot()
        self.stdout.write(json.dumps(dataclasses.asdict(boot) if boot else None))
