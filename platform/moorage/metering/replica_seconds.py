"""Intervals of replica time as rows: whole seconds, cut at the ends of months. Pure.

``ended_at`` decides the month of a row (README.md), and a month ends before its last instant: a row that ends
exactly there is written with the last microsecond before it. The second in which a month ends otherwise belongs to the
month in which it is complete.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Final

_SECOND: Final = dt.timedelta(seconds=1)
_LAST: Final = dt.timedelta(microseconds=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What a replica did during ``[started_at, ended_at)``: whole seconds, except where less is left at the end."""

    state: str
    started_at: dt.datetime
    ended_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row to be written."""

    state: str
    seconds: int
    started_at: dt.datetime
    ended_at: dt.datetime


def rows(piece: Piece, *, after: dt.datetime | None) -> Iterator[Row]:
    """The whole seconds of ``piece`` that begin at or after ``after``, a row for each month. The fraction at the end is
    in none."""
    begin = piece.started_at
    if after is not None and after > begin:
        # What ends with a month ends a microsecond early; the next begins where it was meant to.
        begin = month_after(after) if month_after(after) - after == _LAST else after
    while (seconds := (piece.ended_at - begin) // _SECOND) > 0:
        border = month_after(begin)
        here = min(seconds, (border - begin) // _SECOND)
        if here == 0:
            # The second that is cut by the border: complete in the month that begins.
            rest = month_after(border)
            here = min(seconds, (rest - begin) // _SECOND)
            border = rest
        end = begin + here * _SECOND
        yield Row(state=piece.state, seconds=here, started_at=begin, ended_at=end - _LAST if end == border else end)
        begin = end


def month_after(moment: dt.datetime) -> dt.datetime:
    """When the month that ``moment`` is in has ended, in UTC."""
    first = moment.astimezone(dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + dt.timedelta(days=32)).replace(day=1)
