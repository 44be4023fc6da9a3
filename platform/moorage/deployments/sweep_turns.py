"""One sweep of a kind at a time, and not sooner than its interval asks: whatever beat has sent, and however late.

A message of beat is no more than a poke. It has no expiry, because only clocks of two machines could say that it is
too old; instead whoever gets it asks this row, by the database's clock, whether a sweep is due. Hundreds that have
piled up while the workers were away cost one statement each.
"""

import contextlib
import datetime as dt
from collections.abc import Iterator
from typing import Final

from django.db import connection

from moorage.deployments.models import SweepTurn

#: Whoever holds a turn may have died: the next one waits for so long, or one interval if that is more.
HELD: Final = dt.timedelta(seconds=10)
#: Beat is never quite on time; a little before its interval is on time as well.
_EARLY: Final = 0.8

#: A turn begun in the future is one of before the database's clock was put back.
_TAKE: Final = """
    INSERT INTO sweep_turn (name, begun_at, held_until)
    VALUES (%(name)s, statement_timestamp(), statement_timestamp() + make_interval(secs => %(held)s))
    ON CONFLICT (name) DO UPDATE SET begun_at = excluded.begun_at, held_until = excluded.held_until
    WHERE sweep_turn.begun_at > excluded.begun_at
       OR (sweep_turn.begun_at <= excluded.begun_at - make_interval(secs => %(every)s)
           AND (sweep_turn.held_until IS NULL OR sweep_turn.held_until <= excluded.begun_at))
    RETURNING begun_at
"""


@contextlib.contextmanager
def taking(name: str, *, every_seconds: float) -> Iterator[bool]:
    """Whether the sweep of this name is ours to do now; the block does it."""
    begun_at = _take(name, every_seconds)
    try:
        yield begun_at is not None
    finally:
        if begun_at is not None:
            SweepTurn.objects.filter(pk=name, begun_at=begun_at).update(held_until=None)


def _take(name: str, every_seconds: float) -> dt.datetime | None:
    held = max(every_seconds, HELD.total_seconds())
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {"name": name, "every": _EARLY * every_seconds, "held": held})
        row = cursor.fetchone()
    return row[0] if row is not None else None
