"""The load of the last minute, small enough for a column: one figure for every two seconds. Pure.

Any reconciler reads it, adds what it sees and writes it back, so no decision hangs on what a process remembers. Where
several looks fall into the same two seconds, the highest figure stays. Clocks that go backward cost samples, not sense:
what seems to lie ahead is forgotten.
"""

import dataclasses
import datetime as dt
import math
from collections.abc import Sequence
from typing import Final, Self

#: What scaling down looks at.
STABLE: Final = dt.timedelta(seconds=60)
#: What a sudden rise is seen in.
PANIC: Final = dt.timedelta(seconds=6)
#: One sample for so many seconds.
_STEP: Final = 2
#: A minute that was looked at but for so much counts as seen.
_SLACK: Final = dt.timedelta(seconds=6)
#: Requests that come by chance vary with the square root of their mean: so many of those roots are kept free
#: (square-root staffing: Halfin and Whitt, Operations Research 29, 1981). The value is the least that is no worse than
#: the reference on every trace of `./manage.py bench autoscale`.
_ROOTS: Final = 1.8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadWindow:
    """Samples ``(Unix seconds, load in requests)``, the oldest first; ``since``: looked at without a gap since then."""

    samples: tuple[tuple[int, float], ...] = ()
    since: int = 0

    @classmethod
    def of_json(cls, document: object) -> Self:
        """What :meth:`to_json` gave; anything else is an empty window."""
        if not isinstance(document, dict):
            return cls()
        samples, since = document.get("samples"), document.get("since")
        if not isinstance(samples, list) or not isinstance(since, int):
            return cls()
        pairs = [pair for pair in samples if isinstance(pair, list) and len(pair) == 2]
        return cls(samples=tuple((int(at), float(load)) for at, load in pairs), since=since)

    def to_json(self) -> dict[str, object]:
        """JSON types only; at most some 30 pairs."""
        return {"since": self.since, "samples": [list(pair) for pair in self.samples]}

    def seeing(self, load: float, *, now: dt.datetime) -> Self:
        """The window with the load of ``now``, without what is older than a minute."""
        at = int(now.timestamp()) // _STEP * _STEP
        kept = [(then, value) for then, value in self.samples if at - STABLE.total_seconds() < then <= at]
        is_gap = not kept or at - kept[-1][0] > _SLACK.total_seconds() + _STEP
        since = at if is_gap else min(self.since, at)
        if kept and kept[-1][0] == at:
            load = max(load, kept.pop()[1])
        return dataclasses.replace(self, samples=(*kept, (at, round(load, 2))), since=since)

    def is_whole(self, *, now: dt.datetime) -> bool:
        """Whether the last minute was looked at from its beginning."""
        return bool(self.samples) and now.timestamp() - self.since >= (STABLE - _SLACK).total_seconds()

    def usual(self) -> float:
        """Places for the load of the last minute: its mean, and what it varies by."""
        return with_chance(_mean([load for _, load in self.samples]))

    def lately(self, *, now: dt.datetime) -> float:
        """The mean load of the last six seconds."""
        return _mean([load for at, load in self.samples if now.timestamp() - at < PANIC.total_seconds()])


NOTHING_SEEN: Final = LoadWindow()


def with_chance(load: float) -> float:
    """Places for a load that comes by chance; one caller who asks one thing after the other is none."""
    return load + _ROOTS * math.sqrt(max(0.0, load - 1))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
