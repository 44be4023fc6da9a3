"""A million requests through one worker: its memory must stay flat."""

import threading

from tests.benchmarks import traffic
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Row, slope
from tests.benchmarks.load import Plan
from tests.benchmarks.systems import System, moorage

_SWEEP_SECONDS = 1.0


def measure(bench: Bench, requests: int) -> tuple[list[Row], list[str]]:
    """The slope of resident memory, and its course."""
    with moorage(bench.scene) as ours:
        stop = threading.Event()
        sweeper = threading.Thread(target=_sweep, args=(ours, stop), daemon=True)
        sweeper.start()
        try:
            sample = bench.scene.measure(
                host=ours.host,
                pids=ours.pids(),
                caller=ours.caller,
                shape=traffic.Shape(),
                plan=Plan(connections=64, count=requests),
            )
        finally:
            stop.set()
            sweeper.join()
    course = [(count / 100_000, rss / 1024) for count, rss in sample.marks]
    words = ["resident MB at each 100,000 requests: " + " ".join(f"{rss / 1024:.1f}" for _, rss in course)]
    # Caches and pools fill during the first part.
    settled = course[1:]
    grown = slope(settled) if len(settled) > 1 else None
    row = Row(
        measure=f"resident growth per 100,000 of {requests:,} requests",
        reached=grown,
        unit=" KB",
        digits=0,
        remark="" if grown is not None else "needs at least 300,000 requests",
    )
    return [row], words


def _sweep(ours: System, stop: threading.Event) -> None:
    while not stop.wait(_SWEEP_SECONDS):
        ours.settle()
