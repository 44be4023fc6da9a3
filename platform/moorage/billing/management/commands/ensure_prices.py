"""`./manage.py ensure_prices`: gives a new instance its default price list, once."""

from typing import Any

from django.core.management.base import BaseCommand

from moorage.billing import pricing


class Command(BaseCommand):
    """Called at every start after the migrations; does nothing when there are prices."""

    help = "Add the default price of every meter that has no price at all."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Says how many prices were added."""
        self.stdout.write(f"{pricing.ensure_default_prices()} default prices added")
