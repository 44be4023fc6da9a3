"""`./manage.py bench`: the benchmarks of tests/benchmarks, which bring their own PostgreSQL, engine and load."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from moorage.config.instance.home import Home


def run(arguments: list[str], *, root: Path, place: Home, environ: Mapping[str, str]) -> int:
    """Run them; their exit status. ``--help`` explains."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks", *arguments]
    paths = os.pathsep.join((str(root / "platform"), str(root)))
    surroundings = {**environ, "MOORAGE_HOME": str(place.path), "PYTHONPATH": paths}
    with subprocess.Popen(command, cwd=root, env=surroundings) as bench:
        try:
            return bench.wait()
        except KeyboardInterrupt:  # the terminal told the bench as well, and it tidies up
            bench.wait()
            return 130
