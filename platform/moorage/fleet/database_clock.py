"""The time that all machines of a pool agree on: the database's, whatever a machine's own clock says.

What one worker wrote another one judges by its age, so ages are of one clock. The machine's clock is used as it is
while it is right to a second, which costs nothing; one that is wrong, or jumps, is corrected by what the database says.
"""

import dataclasses
import datetime as dt
import time
from typing import Final

from django.db import connection

from moorage.kernel import clock

#: A clock that is right to this is not corrected: asking takes time as well.
TOLERANCE: Final = dt.timedelta(seconds=1)
_ASK_EVERY_SECONDS: Final = 10.0


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What was found when the database was asked."""

    at: float  #: by the monotonic clock
    wall: dt.datetime
    correction: dt.timedelta


_asked: _Asked | None = None


def now() -> dt.datetime:
    """The present moment by the database's clock, aware, in UTC. Raises django.db.OperationalError if it must be asked
    and does not answer."""
    global _asked
    wall, at = clock.now(), time.monotonic()
    asked = _asked
    if asked is None or at - asked.at > _ASK_EVERY_SECONDS or _has_jumped(asked, wall, at):
        asked = _asked = _ask()
        wall = clock.now()
    return wall + asked.correction


def correction(*, wall: dt.datetime, database: dt.datetime) -> dt.timedelta:
    """What to add to a machine's clock that says ``wall`` when the database says ``database``. Pure."""
    off = database - wall
    return off if abs(off) > TOLERANCE else dt.timedelta()


def _has_jumped(asked: _Asked, wall: dt.datetime, at: float) -> bool:
    return abs((wall - asked.wall).total_seconds() - (at - asked.at)) > TOLERANCE.total_seconds()


def _ask() -> _Asked:
    with connection.cursor() as cursor:
        before = clock.now()
        cursor.execute("SELECT clock_timestamp()")
        (database,) = cursor.fetchone()
    wall, at = clock.now(), time.monotonic()
    return _Asked(at=at, wall=wall, correction=correction(wall=before + (wall - before) / 2, database=database))
