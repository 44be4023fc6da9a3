"""How fast usage gets from journal to PostgreSQL, exactly once, for each core that works on it."""

import shutil
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from tests.benchmarks import database, machine
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Row
from tests.benchmarks.programs import BenchFailed
from tests.benchmarks.series import say
from tests.benchmarks.shipping import Shipped

_EVENTS: Final = 300_000
_QUICK_EVENTS: Final = 50_000


def measure(bench: Bench) -> tuple[list[Row], list[str]]:
    """Rounds of the real shipper; the best counts."""
    events = _QUICK_EVENTS if bench.is_quick else _EVENTS
    seeded = bench.scene.databases.seeded(keys=8, is_governed=False)
    seen = []
    for number in range(min(bench.effort.rounds, bench.effort.wanted)):
        place = Path(tempfile.mkdtemp(prefix="shipping-", dir=bench.scene.work))
        try:
            printed = database.django(
                seeded.url, place, "tests.benchmarks.shipping", str(place), str(events), core=machine.SYSTEM_CORE
            )
        finally:
            shutil.rmtree(place, ignore_errors=True)
        seen.append(msgspec.json.decode(printed, type=Shipped))
        say(f"  journal {number + 1}: {_shown(seen[-1])}")
    if doubled := max(shipped.again for shipped in seen):
        raise BenchFailed(f"{doubled} events came twice when their segments were shipped again")
    best = max(seen, key=_per_core)
    row = Row(
        measure="journal to PostgreSQL, exactly once, per core",
        reached=_per_core(best),
        unit="/s",
        floor=50_000,
        aim=150_000,
        is_more_better=True,
        digits=0,
        remark=f"{events / best.seconds:,.0f}/s on two cores; a core of the shipper alone"
        f" {events / best.shipper_seconds:,.0f}/s, of PostgreSQL {events / best.postgres_seconds:,.0f}/s",
    )
    return [row], [_shown(best)]


def _per_core(shipped: Shipped) -> float:
    """Events for each second of processor time, the shipper's and its PostgreSQL backend's."""
    return shipped.events / (shipped.shipper_seconds + shipped.postgres_seconds)


def _shown(shipped: Shipped) -> str:
    each = 1e6 / shipped.events
    return (
        f"{shipped.events:,} events in {shipped.seconds:.2f} s; {shipped.shipper_seconds * each:.1f} us CPU an event in"
        f" the shipper, {shipped.postgres_seconds * each:.1f} us in PostgreSQL; replayed: {shipped.again} came twice"
    )
