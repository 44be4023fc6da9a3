"""What a replica did in each of its seconds: pure.

Its time is laid on a grid of whole seconds that begins with its first metered moment; what happens within a second
counts from the nearer of its two ends. So each second has one state, whoever meters it and when. Waiting for room
(pending) and being stopped hold nothing, so they are metered as nothing; neither is what follows its end.
"""

import bisect
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from moorage.deployments.models import ReplicaStatus
from moorage.metering.replica_seconds import Piece

R = ReplicaStatus
#: What metering calls each status; serving is idle or busy. What is not here is not metered.
_STATES: Final = {
    R.PLACED: "pull",
    R.PULLING: "pull",
    R.STARTING: "load",
    R.FROZEN: "frozen",
    R.READY: "serving",
    R.DRAINING: "serving",
}
_SECOND: Final = dt.timedelta(seconds=1)

#: A status and since when, in the order in which they were taken on.
Spans = Sequence[tuple[str, dt.datetime]]
#: ``[from, until)``
Ranges = Sequence[tuple[dt.datetime, dt.datetime]]


def is_metered(status: str) -> bool:
    """Whether seconds of this status are metered."""
    return status in _STATES


def first_moment(spans: Spans) -> dt.datetime | None:
    """Where the grid begins; None while nothing is held."""
    return next((began for status, began in _forward(spans) if is_metered(status)), None)


def pieces(spans: Spans, busy: Ranges, *, start: dt.datetime, until: dt.datetime) -> list[Piece]:
    """The whole seconds of ``[start, until)`` that are metered, as pieces of one state each. ``start`` is on the
    grid."""
    whole = max(0, (until - start) // _SECOND)
    found: list[Piece] = []
    for state, begin, end in _segments(spans, busy):
        first, last = (min(max(_nearest(moment - start), 0), whole) for moment in (begin, end or until))
        # What goes on is so to the last whole second.
        last = whole if end is None or end >= until else last
        if last <= first or not state:
            continue
        begun, ended = start + first * _SECOND, start + last * _SECOND
        if found and found[-1].state == state and found[-1].ended_at == begun:
            begun = found.pop().started_at
        found.append(Piece(state=state, started_at=begun, ended_at=ended))
    return found


def union(ranges: Iterable[tuple[dt.datetime, dt.datetime]]) -> list[tuple[dt.datetime, dt.datetime]]:
    """The same time in ranges apart from one another, in their order; what ends before it begins is none."""
    found: list[tuple[dt.datetime, dt.datetime]] = []
    for begin, end in sorted(one for one in ranges if one[0] < one[1]):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _forward(spans: Spans) -> Iterator[tuple[str, dt.datetime]]:
    """A clock that was put back makes a status as late as the one before it, and no time run twice."""
    latest: dt.datetime | None = None
    for status, began in spans:
        latest = began if latest is None else max(latest, began)
        yield status, latest


def _segments(spans: Spans, busy: Ranges) -> Iterator[tuple[str, dt.datetime, dt.datetime | None]]:
    """States with their bounds, the last without an end."""
    steps = list(_forward(spans))
    ranges = union(busy)
    for index, (status, begin) in enumerate(steps):
        end = steps[index + 1][1] if index + 1 < len(steps) else None
        state = _STATES.get(R(status), "")
        if state != "serving":
            yield state, begin, end
            continue
        at = begin
        place = max(0, bisect.bisect_right(ranges, begin, key=lambda one: one[0]) - 1)
        for busy_from, busy_until in ranges[place:]:
            first, last = max(busy_from, at), busy_until if end is None else min(busy_until, end)
            if last > first:
                yield "idle", at, first
                yield "busy", first, last
                at = last
        yield "idle", at, end


def _nearest(span: dt.timedelta) -> int:
    """Whole seconds, a half one counted as one."""
    return (span + _SECOND / 2) // _SECOND
