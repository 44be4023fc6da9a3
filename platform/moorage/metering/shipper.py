"""Moves the gateways' journals into usage_event: every closed request once, whatever crashes in between.

One pass walks every boot's segments in order. The events of a chunk and the offset behind it are committed in one
transaction; the request id makes a repeated insert a no-op, so that an offset that was lost costs time and nothing
else. A segment is deleted only after that commit, when its gateway writes to a later one or is dead, and when no
request that is still open has its last ``open`` in it: a restarted shipper reads what is left from the beginning.
"""

import dataclasses
import datetime as dt
import logging
import threading
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from django.db import InterfaceError, OperationalError, connection

from moorage.kernel import clock
from moorage.metering import segment as segments
from moorage.metering import settlement, usage_table
from moorage.metering.segment import Chunk, DamagedSegment, Segment

logger = logging.getLogger(__name__)

#: Closes are in the journal this long after their ``ended_at`` at the latest (a gateway's write, with a slow disk).
_JOURNAL_DELAY: Final = dt.timedelta(seconds=10)
_MARK_EVERY: Final = dt.timedelta(seconds=5)


@dataclasses.dataclass(slots=True, kw_only=True)
class _Boot:
    """What this process knows of one gateway boot; changed only after the commit that it describes."""

    live: dict[str, settlement.Live] = dataclasses.field(default_factory=dict)
    #: File offsets reached, by segment name.
    reached: dict[str, int] = dataclasses.field(default_factory=dict)


class Shipper:
    """Ships one journal directory. One a directory; a second one would only repeat its work."""

    def __init__(self, *, directory: Path) -> None:
        self._directory = directory
        self._boots: dict[str, _Boot] = {}
        self._marked_at: dt.datetime | None = None

    def run(self, stop: threading.Event, *, pause_seconds: float = 0.2, away_seconds: float = 2.0) -> None:
        """Passes until ``stop`` is set. A database that is away is waited for; nothing is lost meanwhile."""
        self._directory.mkdir(parents=True, exist_ok=True)
        is_away = False
        while not stop.is_set():
            try:
                self.ship()
                if is_away:
                    logger.info("database_returned")
                is_away, pause = False, pause_seconds
            except (OperationalError, InterfaceError) as error:
                if not is_away:
                    logger.warning("database_away error=%s", str(error).splitlines()[0] if str(error) else "")
                is_away, pause = True, away_seconds
                connection.close()
            except Exception:  # the process's loop: the journal keeps everything, so trying again is always right
                logger.exception("shipping_failed")
                connection.close()
                pause = away_seconds
            stop.wait(pause)

    def ship(self) -> int:
        """One pass over everything that is on disk; the number of new usage events. Raises DatabaseError, OSError."""
        began = clock.now()
        present = segments.segments(self._directory.iterdir())
        # Asked before the files are read: whoever is dead now has written all it ever will.
        alive = {boot_id: segments.is_alive(self._directory, boot_id) for boot_id in {s.boot_id for s in present}}
        self._set_aside_misnamed()
        shipped = 0
        for boot_id, group in groupby(segments.segments(self._directory.iterdir()), key=lambda one: one.boot_id):
            if boot_id in alive:
                shipped += self._ship_boot(boot_id, list(group), is_alive=alive[boot_id])
        self._boots = {boot_id: boot for boot_id, boot in self._boots.items() if boot_id in alive}
        self._mark(began)
        return shipped

    def _ship_boot(self, boot_id: str, present: list[Segment], *, is_alive: bool) -> int:
        boot = self._boots.setdefault(boot_id, _Boot())
        shipped = 0
        finished: list[Segment] = []
        for position, segment in enumerate(present):
            is_complete = not is_alive or position < len(present) - 1
            try:
                shipped += self._ship_segment(boot, segment)
                if is_complete and not segments.is_torn_tail(segment.path, boot.reached[segment.name]):
                    # The file stays for a person; what came before the damage is shipped.
                    self._set_aside(segment.path, reason="unreadable_record", offset=boot.reached[segment.name])
                    continue
            except DamagedSegment:
                self._set_aside(segment.path, reason="no_journal", offset=0)
                continue
            if is_complete:
                finished.append(segment)
        if not is_alive:
            shipped += self._settle(boot_id, boot)
        self._delete(boot, finished)
        if not is_alive:
            (self._directory / f"{boot_id}{segments.LOCK_SUFFIX}").unlink(missing_ok=True)
            self._boots.pop(boot_id, None)
        return shipped

    def _ship_segment(self, boot: _Boot, segment: Segment) -> int:
        shipped = 0
        begin = boot.reached.setdefault(segment.name, 0)
        committed: int | None = None if begin == 0 else begin
        for chunk in _chunks(segment.path, begin):
            if committed is None:
                committed = usage_table.committed_offset(segment.name)
            records = [record for record, _ in chunk.records]
            live, closed = settlement.absorb(boot.live, records, segment=segment.number)
            # What an earlier run has committed is read again only to know which requests are open.
            if chunk.offset > committed:
                shipped += usage_table.put(closed, segment=segment.name, offset=chunk.offset)
            boot.live = live
            boot.reached[segment.name] = chunk.offset
        return shipped

    def _settle(self, boot_id: str, boot: _Boot) -> int:
        if not boot.live:
            return 0
        lost = settlement.settle(boot.live)
        shipped = usage_table.put(lost)
        logger.warning("gateway_lost boot=%s requests=%d", boot_id, len(lost))
        boot.live = {}
        return shipped

    def _delete(self, boot: _Boot, finished: list[Segment]) -> None:
        needed_from = min((request.segment for request in boot.live.values()), default=None)
        for segment in finished:
            if needed_from is None or segment.number < needed_from:
                segment.path.unlink(missing_ok=True)
                usage_table.forget(segment.name)
                boot.reached.pop(segment.name, None)

    def _set_aside_misnamed(self) -> None:
        for path in self._directory.iterdir():
            if path.name.endswith(segments.SUFFIX) and Segment.named(path) is None:
                self._set_aside(path, reason="no_segment_name", offset=0)

    def _set_aside(self, path: Path, *, reason: str, offset: int) -> None:
        logger.error("segment_set_aside name=%s reason=%s offset=%d", path.name, reason, offset)
        path.rename(path.with_name(path.name + segments.DAMAGED_SUFFIX))

    def _mark(self, began: dt.datetime) -> None:
        if self._marked_at is None or began - self._marked_at >= _MARK_EVERY:
            usage_table.mark_complete(began - _JOURNAL_DELAY)
            self._marked_at = began


def _chunks(path: Path, offset: int) -> Iterator[Chunk]:
    while True:
        chunk = segments.read_chunk(path, offset)
        if chunk.records:
            yield chunk
        if chunk.is_end:
            return
        offset = chunk.offset
