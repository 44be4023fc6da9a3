"""`./manage.py bench autoscale`: both policies over all traces, as a table."""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from typing import Final

from tests.benchmarks.autoscale.policies import Knative, Moorage
from tests.benchmarks.autoscale.replay import Cluster, Result, replay
from tests.benchmarks.autoscale.traces import TRACES

#: From what a model wakes at zero, and how long that takes; further replicas start from nothing.
TIERS: Final = {"absent": 8.0, "stopped": 0.25, "frozen": 0.03}
SEEDS: Final = (1, 2, 3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One trace with one tier: both results over all seeds together."""

    trace: str
    tier: str
    requests: int
    ours: Result
    reference: Result

    @property
    def is_met(self) -> bool:
        """No worse p99 wait at no more replica seconds."""
        return (
            self.ours.wait(0.99) <= self.reference.wait(0.99)
            and self.ours.replica_seconds <= self.reference.replica_seconds
        )


def measure(*, seeds: Sequence[int] = SEEDS, tiers: Iterable[str] = TIERS) -> list[Row]:
    """Every trace with every tier."""
    rows = []
    for tier in tiers:
        cluster = Cluster(wake_seconds=TIERS[tier])
        for make in TRACES:
            traces = [make(seed) for seed in seeds]
            ours = [replay(trace, Moorage(slots=cluster.slots, most=cluster.most), cluster) for trace in traces]
            reference = [replay(trace, Knative(slots=cluster.slots), cluster) for trace in traces]
            rows.append(
                Row(
                    trace=traces[0].name,
                    tier=tier,
                    requests=sum(len(trace.requests) for trace in traces),
                    ours=_together(ours),
                    reference=_together(reference),
                )
            )
    return rows


def render(rows: Iterable[Row]) -> str:
    """For people."""
    head = f"{'trace':<9}{'wakes from':<12}{'requests':>9}  {'p50 wait':>15}  {'p99 wait':>17}  {'replica seconds':>19}"
    lines = ["(Moorage / Knative-style)", head]
    for row in rows:
        ours, other = row.ours, row.reference
        lines.append(
            f"{row.trace:<9}{row.tier:<12}{row.requests:>9,}"
            f"  {ours.wait(0.5):>6.2f} / {other.wait(0.5):>4.2f} s"
            f"  {ours.wait(0.99):>6.2f} / {other.wait(0.99):>6.2f} s"
            f"  {ours.replica_seconds:>8,.0f} / {other.replica_seconds:>8,.0f}"
            f"  {'' if row.is_met else 'worse'}"
        )
    return "\n".join(lines)


def main(*, is_quick: bool) -> int:
    """Prints the table; 1 where the reference is better somewhere."""
    began = time.monotonic()
    rows = measure(seeds=SEEDS[:1] if is_quick else SEEDS)
    print(render(rows))
    print(f"\n{sum(row.is_met for row in rows)} of {len(rows)} met; {time.monotonic() - began:.1f} s")
    return 0 if all(row.is_met for row in rows) else 1


def _together(results: Sequence[Result]) -> Result:
    return Result(
        waits=tuple(sorted(wait for result in results for wait in result.waits)),
        replica_seconds=sum(result.replica_seconds for result in results),
        starts=sum(result.starts for result in results),
    )
