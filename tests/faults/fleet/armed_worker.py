"""``python -m tests.faults.fleet.armed_worker CELERY'S ARGUMENTS``: a worker that dies where a test has laid a charge.

A charge is a file named for a fault point in MOORAGE_FAULT_DIRECTORY. Whoever comes to the point and removes the file
is killed at once, as ``kill -9`` would: one charge, one death, however many workers there are.
"""

import os
import signal
import sys
from pathlib import Path

from celery.__main__ import main

from moorage.kernel import fault


def listen(directory: Path) -> None:
    """Arms this process with the charges in ``directory``."""

    def reached(name: str) -> None:
        try:
            (directory / name).unlink()
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    fault.arm(reached)


if __name__ == "__main__":
    listen(Path(os.environ["MOORAGE_FAULT_DIRECTORY"]))
    sys.argv[0] = "celery"
    main()
