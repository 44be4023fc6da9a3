"""`./manage.py shipper`: moves the gateways' journals into PostgreSQL until it is told to stop."""

import gc
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from moorage.metering.shipper import Shipper


class Command(BaseCommand):
    """The long-running process that supervisors start once an instance."""

    # Usage is shipped even when another room does not load.
    requires_system_checks = []
    help = "Move the gateways' journals into the database until SIGTERM or SIGINT."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Ships MOORAGE_JOURNAL_DIR."""
        # A batch is many thousand objects and no cycles: the collector would walk them for nothing.
        gc.freeze()
        gc.set_threshold(200_000, 20, 20)
        # Whoever sends to PostgreSQL need not wait five milliseconds for whoever decodes.
        sys.setswitchinterval(0.0005)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        Shipper(directory=Path(settings.MOORAGE_JOURNAL_DIR)).run(stop)
