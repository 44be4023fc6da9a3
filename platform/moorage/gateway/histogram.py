"""A Prometheus histogram that costs a bisection: fixed upper bounds, whole microseconds, no label."""

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import Final

_place: Final = bisect.bisect_left


class Histogram:
    """Counts durations. ``bounds`` are upper bounds in seconds, rising; the last bucket is everything above."""

    __slots__ = ("_bounds_us", "_counts", "_total_us")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds_us = [round(bound * 1_000_000) for bound in bounds]
        self._counts = [0] * (len(bounds) + 1)
        self._total_us = 0

    def observe(self, microseconds: int) -> None:
        """Count one duration."""
        self._counts[_place(self._bounds_us, microseconds)] += 1
        self._total_us += microseconds

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self._counts)

    def samples(self, *, zeros: int = 0) -> Iterator[tuple[str, float]]:
        """What the text format shows: cumulative buckets, sum in seconds, count; each with the end of its name.

        ``zeros`` durations of nothing are shown besides those that were counted.
        """
        below = list(itertools.accumulate(self._counts, initial=zeros))[1:]
        for bound, count in zip(self._bounds_us, below, strict=False):
            yield f'_bucket{{le="{bound / 1_000_000:g}"}}', count
        yield '_bucket{le="+Inf"}', below[-1]
        yield "_sum", self._total_us / 1_000_000
        yield "_count", below[-1]
