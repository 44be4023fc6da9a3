"""When a replica had a request in flight at this worker: ranges of Unix microseconds, the last ones.

Metering unites what all workers tell, so ranges are told, not sums. Gaps that are shorter than what is billed anyway
are closed, and the oldest ranges make way: a control plane that was away for long takes that time for idle.
"""

from typing import Final

#: Half a second: a gap that is shorter is none.
_GAP_US: Final = 500_000
_MOST: Final = 128


class BusyTimes:
    """Of one replica."""

    def __init__(self) -> None:
        self.ranges: list[list[int]] = []
        self.is_on = False

    def began(self, at_us: int) -> None:
        """There is a request now."""
        self.is_on = True
        if self.ranges:
            last = self.ranges[-1]
            if last[0] <= at_us <= last[1] + _GAP_US:
                return
        self.ranges.append([at_us, at_us])
        if len(self.ranges) > _MOST:
            del self.ranges[0]

    def goes_on(self, at_us: int) -> None:
        """There is one still."""
        last = self.ranges[-1]
        if at_us > last[1]:
            last[1] = at_us

    def ended(self, at_us: int) -> None:
        """There is none any more."""
        self.goes_on(at_us)
        self.is_on = False
