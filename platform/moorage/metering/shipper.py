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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
from django.db import InterfaceError, OperationalError, connection

from moorage.kernel import clock
from moorage.metering import bounds, settlement, usage_table
from moorage.metering import segment as segments
from moorage.metering.copy_rows import Batch, CopyRows
from moorage.metering.segment import DamagedSegment, Segment
from moorage.wire import journal
from moorage.wire.records import UsageEvent

logger = logging.getLogger(__name__)

#: Closes are in the journal this long after their ``ended_at`` at the latest (a gateway's write, with a slow disk).
_JOURNAL_DELAY: Final = dt.timedelta(seconds=10)
_MARK_EVERY: Final = dt.timedelta(seconds=5)


@dataclasses.dataclass(slots=True, kw_only=True)
class _Boot:
    """What this process knows of one gateway boot; changed only after the commit that it describes."""

    rows: CopyRows
    live: dict[bytes, settlement.Live] = dataclasses.field(default_factory=dict)
    #: File offsets reached, by segment name.
    reached: dict[str, int] = dataclasses.field(default_factory=dict)
    #: The first offset behind a record that nobody understands, by segment name.
    unreadable: dict[str, int] = dataclasses.field(default_factory=dict)


class Shipper:
    """Ships one journal directory. One a directory; a second one would only repeat its work."""

    def __init__(self, *, directory: Path) -> None:
        self._directory = directory
        self._boots: dict[str, _Boot] = {}
        self._marked_at: dt.datetime | None = None
        self._awaited: set[str] = set()
        self._decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shipper-decoder")

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
        # Asked before the files are read: whoever is dead now has written all it ever will.
        alive = {boot_id: segments.is_alive(self._directory, boot_id) for boot_id in segments.boots(self._directory)}
        self._set_aside_misnamed()
        shipped, is_complete = 0, True
        present = {boot_id: list[Segment]() for boot_id in alive}
        for segment in segments.segments(self._directory.iterdir()):
            if segment.boot_id in present:
                present[segment.boot_id].append(segment)
        for boot_id, group in present.items():
            versions = self._versions(group)
            if any(version > journal.VERSION for version in versions.values()):
                self._await_newer(boot_id)
                is_complete = False
                continue
            shipped += self._ship_boot(boot_id, [s for s in group if s.name in versions], versions, alive[boot_id])
        self._boots = {boot_id: boot for boot_id, boot in self._boots.items() if boot_id in alive}
        if is_complete:
            self._mark(began)
        return shipped

    def _versions(self, group: Sequence[Segment]) -> dict[str, int]:
        """The format of each segment by its name, 0 where nothing is written yet; what is none is set aside."""
        found = {}
        for segment in group:
            try:
                found[segment.name] = segments.version(segment.path) or 0
            except DamagedSegment:
                self._set_aside(segment.path, reason="no_journal", offset=0)
        return found

    def _await_newer(self, boot_id: str) -> None:
        """Half of a boot must not be settled: it is left to the shipper of its version."""
        if boot_id not in self._awaited:
            self._awaited.add(boot_id)
            logger.error("journal_is_newer boot=%s: it waits for a shipper of its version", boot_id)

    def _ship_boot(self, boot_id: str, present: Sequence[Segment], versions: Mapping[str, int], is_alive: bool) -> int:
        boot = self._boots.setdefault(boot_id, _Boot(rows=CopyRows(boot_id)))
        shipped = 0
        finished: list[Segment] = []
        for position, segment in enumerate(present):
            if versions[segment.name]:
                shipped += self._ship_segment(boot, segment, versions[segment.name])
            if is_alive and position == len(present) - 1:
                break  # it is being written to
            damage = self._damage(boot, segment, is_begun=versions[segment.name] > 0)
            if damage is None:
                finished.append(segment)
            else:
                # The file stays for a person; what can be read of it is shipped.
                self._set_aside(segment.path, reason="unreadable_record", offset=damage)
        if not is_alive:
            shipped += self._settle(boot_id, boot)
        self._delete(boot, finished)
        if not is_alive:
            (self._directory / f"{boot_id}{segments.LOCK_SUFFIX}").unlink(missing_ok=True)
            self._boots.pop(boot_id, None)
        return shipped

    def _damage(self, boot: _Boot, segment: Segment, *, is_begun: bool) -> int | None:
        """Where a segment that will not grow any more cannot be read; None where all of it was."""
        if segment.name in boot.unreadable:
            return boot.unreadable[segment.name]
        reached = boot.reached.get(segment.name, 0) or (len(journal.MAGIC) if is_begun else 0)
        return None if segments.is_torn_tail(segment.path, reached) else reached

    def _ship_segment(self, boot: _Boot, segment: Segment, version: int) -> int:
        """The next batch is decoded while PostgreSQL works on this one."""
        shipped = 0
        begin = boot.reached.setdefault(segment.name, 0)
        committed = begin or usage_table.committed_offset(segment.name)
        batch: _Batch | None = _decoded(boot.rows, boot.live, segment, begin, version)
        while batch is not None:
            following = None
            if not batch.is_end:
                following = self._decoder.submit(_decoded, boot.rows, batch.live, segment, batch.reached, version)
            # What an earlier run has committed is read again only to know which requests are open.
            if batch.reached > committed:
                shipped += usage_table.put_batch(batch.rows, segment=segment.name, offset=batch.reached)
            boot.live = batch.live
            boot.reached[segment.name] = batch.reached
            if batch.unreadable:
                boot.unreadable.setdefault(segment.name, batch.reached)
            batch = following.result() if following is not None else None
        return shipped

    def _settle(self, boot_id: str, boot: _Boot) -> int:
        lost = settlement.settle(boot.live.values())
        shipped = usage_table.put_batch(boot.rows.batch(lost), finished_boot=boot_id)
        if boot.live:
            unreadable = len(boot.live) - len(lost)
            logger.warning("gateway_lost boot=%s requests=%d unreadable=%d", boot_id, len(lost), unreadable)
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Some records of a segment: what is to be committed, and what is known once it is."""

    rows: Batch
    live: dict[bytes, settlement.Live]
    reached: int
    unreadable: int
    is_end: bool


def _decoded(
    rows: CopyRows, live: Mapping[bytes, settlement.Live], segment: Segment, offset: int, version: int
) -> _Batch | None:
    """The records of ``segment`` from ``offset`` on; None when there is no whole one."""
    chunk = segments.read_chunk(segment.path, offset, version=version)
    absorbed = settlement.absorb(live, chunk.records(), segment=segment.number)
    if absorbed.reached is None:
        return None
    events = _Events(absorbed.closed)
    return _Batch(
        rows=rows.batch(events),
        live=absorbed.live,
        reached=absorbed.reached,
        unreadable=absorbed.unreadable + events.unreadable,
        is_end=chunk.is_end,
    )


class _Events:
    """The events of closes, decoded one at a time while they are written; ``unreadable`` counts those that are none."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self._payloads = payloads
        self.unreadable = 0

    def __iter__(self) -> Iterator[UsageEvent]:
        read = bounds.read
        for payload in self._payloads:
            try:
                yield read(payload)
            except msgspec.DecodeError:
                self.unreadable += 1
