"""How long the comparisons R1 and R2 take over much usage, and how much memory: seconds by the clock, of processor time
in the worker and in PostgreSQL, and what the worker and its backend grew by.

``PYTHONPATH=platform python -m tests.benchmarks.reconciled [ROWS]`` rates so many events first (1,000,000 unless told).
It prints one line a job and fails where a job finds something, since everything is as it should be.
"""

import datetime as dt
import os
import resource
import sys
import time
from pathlib import Path
from typing import Final

import django

from tests.benchmarks import database, spent
from tests.benchmarks.series import say

_MODULE: Final = "tests.benchmarks.reconciled"
_ROWS: Final = 1_000_000


def main(rows: int) -> None:
    """A database of its own, filled and rated; then each job in a process of its own."""
    folder = Path(os.environ.get("MOORAGE_HOME") or ".moorage") / "bench"
    with database.running(folder / "rating") as databases:
        url = databases.seeded(keys=8, is_governed=False).url
        say(f"  rates {rows:,} events")
        database.django(url, folder, "tests.benchmarks.rated", "seed", str(rows))
        database.django(url, folder, _MODULE, "rate")
        for job in ("R1", "R2"):
            print(database.django(url, folder, _MODULE, job).strip(), flush=True)


def rate() -> None:
    """Rates all that waits."""
    from moorage.billing import rater

    while rater.rate_all():
        pass


def compare(job: str) -> str:
    """One job over all that there is, as a sentence."""
    from django.db import connection

    from moorage.billing.reconciliation import books, settled
    from moorage.billing.reconciliation.findings import Window
    from moorage.kernel import clock

    now = clock.now() + dt.timedelta(minutes=10)
    window = Window(since=now - dt.timedelta(days=3), until=now, now=now)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = int(cursor.fetchone()[0])
    own, theirs, cpu, began = _peak_own(), _peak_of(backend), spent.seconds_of(backend), time.monotonic()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    result = {"R1": books.books, "R2": settled.settled}[job](window)
    took = time.monotonic() - began
    assert result.findings == (), result.findings[:3]
    return (
        f"{job}: {result.compared:,} facts in {took:.1f} s by the clock;"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_utime - used:.1f} s of processor time in the worker,"
        f" {spent.seconds_of(backend) - cpu:.1f} s in PostgreSQL; memory grew by {(_peak_own() - own) / 1e6:.0f} MB in"
        f" the worker and {(_peak_of(backend) - theirs) / 1e6:.0f} MB in PostgreSQL (shared buffers included)"
    )


def _peak_own() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _peak_of(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    asked = sys.argv[1] if len(sys.argv) > 1 else str(_ROWS)
    if asked.isdecimal():
        main(int(asked))
    else:
        django.setup()
        if asked == "rate":
            rate()
        else:
            print(compare(asked))
