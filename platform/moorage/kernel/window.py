"""The one definition of a window of time: minutes, days and calendar months in UTC, half-open, ``[start, end)``.

Moments are whole Unix seconds here, so that the gateway's hot path and SQL say the same number. Every moment lies in
exactly one window of each kind, and where one ends the next begins. Leap seconds do not exist in Unix time.
"""

import datetime as dt
import enum
from typing import Final

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MINUTE: Final = 60
_DAY: Final = 86_400
#: The end of a window that has none: beyond every clock, and still exact as a float.
NEVER: Final = 2**53


class Window(enum.StrEnum):
    """How long an allowance is good for. ``ALWAYS`` has no end: places in use, or a balance."""

    MINUTE = "minute"
    DAY = "day"
    MONTH = "month"
    ALWAYS = "always"

    # Enum's own is written in Python, and the gateway looks up many.
    __hash__ = str.__hash__


def start_of(window: Window, at: int) -> int:
    """The beginning of the window of this kind that holds the moment ``at`` (Unix seconds; the year 1970 to 9998)."""
    match window:
        case Window.MINUTE:
            return at - at % _MINUTE
        case Window.DAY:
            return at - at % _DAY
        case Window.MONTH:
            moment = _EPOCH + dt.timedelta(seconds=at)
            return _seconds(moment.year, moment.month)
        case Window.ALWAYS:
            return 0


def end_of(window: Window, start: int) -> int:
    """The first moment behind the window that begins at ``start``, which is the beginning of the next one."""
    match window:
        case Window.MINUTE:
            return start + _MINUTE
        case Window.DAY:
            return start + _DAY
        case Window.MONTH:
            moment = _EPOCH + dt.timedelta(seconds=start)
            return _seconds(moment.year + moment.month // 12, moment.month % 12 + 1)
        case Window.ALWAYS:
            return NEVER


def bounds(window: Window, at: int) -> tuple[int, int]:
    """``[start, end)`` of the window of this kind that holds the moment ``at``."""
    start = start_of(window, at)
    return start, end_of(window, start)


def text(moment: int) -> str:
    """A moment as people read it: ``2026-12-01T00:00:00Z``."""
    return (_EPOCH + dt.timedelta(seconds=moment)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(year: int, month: int) -> int:
    return (dt.datetime(year, month, 1, tzinfo=dt.UTC) - _EPOCH) // dt.timedelta(seconds=1)
