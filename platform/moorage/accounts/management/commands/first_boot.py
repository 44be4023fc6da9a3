"""`./manage.py first_boot PATH`: makes the administrator and the demo organization of a new instance, once."""

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from moorage.accounts import services


class Command(BaseCommand):
    """Writes the secrets to a file that only this user can read; leaves it alone where there are users already."""

    help = "Make the administrator and the demo organization of a new instance, once; their secrets go into PATH."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Where the secrets go."""
        parser.add_argument("path", type=Path, help="a JSON file, made with mode 0600")

    def handle(self, *_args: Any, path: Path, **_options: Any) -> None:
        """Runs the service."""
        services.first_boot(keep=lambda boot: _keep(boot, path))


def _keep(boot: services.FirstBoot, path: Path) -> None:
    """On the disk before the accounts are: what an earlier try left is of accounts that were never made."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(dataclasses.asdict(boot), file)
        file.flush()
        os.fsync(file.fileno())
