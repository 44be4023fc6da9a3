"""Usage on disk before money moves: opens before the engine hears of a request, closes before the client has it all.

Records of one turn of the event loop go out in one write. Closes then wait for ``fdatasync``, which runs beside the
loop with one call in flight: all that arrive meanwhile share the next one. When the disk is full or a sync fails,
``admit`` says no (so the gateway answers 503), and what was promised is written again to a new segment until it holds.
"""

import os
import pathlib
import queue
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Final

from moorage.gateway.disk_sync import DiskSync
from moorage.gateway.journal_segment import Segment, claim
from moorage.gateway.metrics import JournalMetrics
from moorage.wire import journal
from moorage.wire.records import UsageEvent

#: Bytes kept free for the close of each live request; records are about half of it.
_RESERVE: Final = 1024
#: Bytes kept free besides, for checkpoints and the carried opens of a rotation.
_MARGIN: Final = 16 * 1024
_RETRY_SECONDS: Final = 1.0
#: A disk that is quicker than this may be waited for when nobody else is being served.
_INLINE_SECONDS: Final = 0.0005
#: Streams in one checkpoint record, far below the format's largest payload.
_STREAMS_PER_RECORD: Final = 2000

#: Called once: True when the record is where it was promised to be, False when it could not be written.
Then = Callable[[bool], None]


#: Request id, the record, and who waits for it. Plain tuples: two are made for each request.
_Open = tuple[str, bytes, Then]
_Close = tuple[str, bytes, Then | None]


class _SyncJob:
    __slots__ = ("directory", "segments", "stale")

    def __init__(self, segments: list[Segment], stale: list[Segment], directory: pathlib.Path | None) -> None:
        self.segments = segments
        self.stale = stale
        self.directory = directory


class JournalWriter:
    """The journal of one boot of one gateway worker. All methods belong to the event loop's thread."""

    def __init__(
        self,
        *,
        directory: pathlib.Path,
        boot_id: str,
        segment_bytes: int,
        loop: AbstractEventLoop,
        metrics: JournalMetrics,
        progress: Callable[[], list[journal.Progress]] = list,
        sync: Callable[[int], None] = os.fdatasync,
        disk: DiskSync | None = None,
    ) -> None:
        """``disk`` does the usual sync, ``sync`` in a thread every other one, and all where there is no ``disk``."""
        self._directory = directory
        self._boot_id = boot_id
        self._segment_bytes = segment_bytes
        self._loop = loop
        self._metrics = metrics
        self._progress = progress
        self._sync = sync
        self._disk = disk
        self._segment: Segment | None = None
        self._number = 0
        self._live: dict[str, bytes] = {}  # the open records of requests whose close is not written
        self._pending: list[bytes] = []  # records that are not written, in their order
        self._opens: list[_Open] = []  # those of them that are opens
        self._closes: list[_Close] = []  # those of them that are closes
        self._written: list[_Close] = []  # that the next sync covers
        self._syncing: list[_Close] = []  # that the sync in flight covers
        self._stale: list[Segment] = []  # full segments that still need their last sync
        self._is_new_segment = False
        self._is_sync_in_flight = False
        self._is_flush_due = False
        self._is_healthy = False
        self._usual_seconds = float("inf")  # how long a sync takes, as far as is known
        self._next_attempt = 0.0
        self._sync_began = 0.0
        self._lock: int | None = None
        self._jobs: queue.SimpleQueue[_SyncJob | None] = queue.SimpleQueue()
        self._sync_thread = threading.Thread(target=self._sync_forever, name="journal-sync", daemon=True)

    def start(self) -> None:
        """Begin the first segment. Where that fails nothing is admitted, and ``tick`` tries again."""
        self._sync_thread.start()
        self._try_segment()

    @property
    def is_healthy(self) -> bool:
        """Whether the last thing tried worked."""
        return self._is_healthy

    @property
    def is_idle(self) -> bool:
        """Whether everything promised is on disk."""
        return not (self._pending or self._written or self._syncing)

    @property
    def unsynced(self) -> tuple[int, float]:
        """Bytes that are not on disk yet, and since when (seconds) the oldest of them waits, at least."""
        waiting = [*self._pending, *(content for _, content, _ in (*self._written, *self._syncing))]
        if not waiting:
            return 0, 0.0
        return sum(map(len, waiting)), self._loop.time() - self._sync_began

    def admit(self) -> bool:
        """Whether one more billable request may start: its open and its close have a place."""
        if not self._is_healthy:
            return False
        segment = self._segment
        needed = (len(self._live) + len(self._pending) + 2) * _RESERVE + _MARGIN
        if segment is not None and segment.size - segment.offset >= needed:
            return True
        return self._try_segment()

    def open(self, event: UsageEvent, then: Then) -> None:
        """Record that a request is about to be sent; ``then`` comes when the record is written, before any sync."""
        self.open_as(event.request_id, journal.encode_open(event), then)

    def open_as(self, request_id: str, record: bytes, then: Then) -> None:
        """The same where the record is made already."""
        self._opens.append((request_id, record, then))
        self._append(record, is_alone=not self._live)

    def close(self, event: UsageEvent, then: Then | None = None) -> None:
        """Record how a request ended; ``then`` comes when the record is durable, however long that takes."""
        self.close_as(event.request_id, journal.encode_close(event), then)

    def close_as(self, request_id: str, record: bytes, then: Then | None = None) -> None:
        """The same where the record is made already."""
        self._closes.append((request_id, record, then))
        self._append(record, is_alone=len(self._live) == 1 and request_id in self._live)

    def checkpoint(self, content: bytes) -> None:
        """Write ``content``, records of how far live streams are. Skipped when the space is promised to closes."""
        if self._segment is not None and self._is_healthy:
            if len(content) + len(self._live) * _RESERVE > self._segment.free and not self._try_segment():
                return
            self._append(content)

    def tick(self) -> None:
        """Try again what failed; call it about once a second."""
        if not self._is_healthy:
            self._recover()

    def stop(self) -> None:
        """Write and sync what there is, then let go of the files. Blocks; call it when no request is live."""
        if self._pending:
            self._flush()
        self._jobs.put(None)
        self._sync_thread.join()
        if self._disk is not None:
            self._disk.close()
        for segment in [*self._stale, *([self._segment] if self._segment is not None else [])]:
            self._sync(segment.descriptor)
            segment.close()
        self._segment = None
        if self._lock is not None:
            os.close(self._lock)

    # -- writing

    def _append(self, content: bytes, *, is_alone: bool = False) -> None:
        """Write ``content`` at the end of this turn of the loop, with all that comes until then; a request that is
        served alone has nobody to share the write with, and does not wait for the turn."""
        self._pending.append(content)
        if is_alone and not self._is_flush_due and self._is_healthy:
            self._flush()
        elif not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if not self._pending:
            return
        content = b"".join(self._pending)
        opens, closes = self._opens, self._closes
        self._pending, self._opens, self._closes = [], [], []
        try:
            if self._segment is None or self._segment.free < len(content):
                self._next_segment(owed=len(content))
            assert self._segment is not None
            self._segment.write(content)
        except OSError:
            self._fail_writing(opens, closes)
            return
        live = self._live
        for request_id, record, _ in opens:
            live[request_id] = record
        for request_id, _, _ in closes:
            live.pop(request_id, None)
        self._written += closes
        self._start_sync()
        for _, _, then in opens:
            then(True)

    def _fail_writing(self, opens: list[_Open], closes: list[_Close]) -> None:
        self._abandon_segment()
        # A close is owed until it is written; an open that cannot be written is a request that does not start.
        self._owe(closes)
        for _, _, then in opens:
            then(False)

    def _owe(self, closes: list[_Close]) -> None:
        """Write these first, when something can be written."""
        self._closes = closes + self._closes
        self._pending = [content for _, content, _ in closes] + self._pending

    def _try_segment(self) -> bool:
        """A new segment if one can be had, at most one try a second. Returns whether there is one."""
        now = self._loop.time()
        if now < self._next_attempt:
            return False
        try:
            self._next_segment(owed=sum(map(len, self._pending)))
        except OSError:
            self._next_attempt = now + _RETRY_SECONDS
            self._metrics.failures += 1
            return False
        self._is_healthy = True
        return True

    def _next_segment(self, *, owed: int) -> None:
        """Rotate, with room for ``owed`` bytes.

        The new segment begins with the opens and the progress of all live requests, so that the one before it is
        needed for nothing but its closes.
        """
        if self._lock is None:
            self._lock = claim(self._directory, self._boot_id)
        carried = b"".join([*self._live.values(), *self._checkpoints()])
        size = max(self._segment_bytes, len(carried) + owed + 2 * len(self._live) * _RESERVE + 4 * _MARGIN)
        segment = Segment(directory=self._directory, boot_id=self._boot_id, number=self._number + 1, size=size)
        segment.write(carried)
        if self._segment is not None:
            self._stale.append(self._segment)
        self._segment = segment
        self._number += 1
        self._is_new_segment = True

    def _checkpoints(self) -> list[bytes]:
        streams = self._progress()
        return [
            journal.encode(journal.Checkpoint(streams=tuple(streams[start : start + _STREAMS_PER_RECORD])))
            for start in range(0, len(streams), _STREAMS_PER_RECORD)
        ]

    # -- making durable

    def _start_sync(self) -> None:
        if self._is_sync_in_flight or not self._written or self._segment is None:
            return
        self._is_sync_in_flight = True
        self._sync_began = self._loop.time()
        self._syncing, self._written = self._written, []
        if self._usual_seconds < _INLINE_SECONDS and not (self._live or self._stale or self._is_new_segment):
            # Nobody else is being served, and this disk is quick: waiting here is cheaper than two threads' hand-over.
            self._synced(*self._timed_sync([self._segment]))
            return
        if self._disk is not None and not self._stale and not self._is_new_segment:
            try:
                self._disk.begin(self._segment.descriptor, self._synced)
            except OSError:
                self._disk = None  # the thread will hear from the disk itself what is wrong
            else:
                return
        stale, self._stale = self._stale, []
        directory = self._directory if self._is_new_segment else None
        self._is_new_segment = False
        self._jobs.put(_SyncJob([*stale, self._segment], stale, directory))

    def _sync_forever(self) -> None:
        while (job := self._jobs.get()) is not None:
            failure, seconds = self._timed_sync(job.segments)
            try:
                if failure is None and job.directory is not None:
                    _sync_directory(job.directory)
                if failure is None:
                    for segment in job.stale:
                        segment.close()
            except OSError as error:
                failure = error
            self._loop.call_soon_threadsafe(self._synced, failure, seconds)

    def _timed_sync(self, segments: list[Segment]) -> tuple[OSError | None, float]:
        started = time.monotonic()
        failure: OSError | None = None
        try:
            for segment in segments:
                self._sync(segment.descriptor)
        except OSError as error:
            failure = error
        return failure, time.monotonic() - started

    def _synced(self, failure: OSError | None, seconds: float) -> None:
        self._is_sync_in_flight = False
        self._metrics.syncs += 1
        self._metrics.sync_seconds += seconds
        self._usual_seconds = seconds if self._usual_seconds > 1 else 0.9 * self._usual_seconds + 0.1 * seconds
        closes, self._syncing = self._syncing, []
        if failure is not None:
            # After a failed sync nobody knows what the file holds: everything unconfirmed is written again elsewhere.
            # The same close twice is one usage event, because its request id is the key.
            self._owe(closes + self._written)
            self._written = []
            self._abandon_segment()
            return
        self._is_healthy = True
        self._start_sync()
        for _, _, then in closes:
            if then is not None:
                then(True)

    def _abandon_segment(self) -> None:
        """What was tried failed: the rest goes to a new segment, and nothing new is admitted until that works."""
        if self._segment is not None:
            self._stale.append(self._segment)
            self._segment = None
        self._metrics.failures += 1
        self._is_healthy = False
        self._next_attempt = self._loop.time() + _RETRY_SECONDS

    def _recover(self) -> None:
        if self._is_sync_in_flight or self._loop.time() < self._next_attempt or not self._try_segment():
            return
        if self._pending:
            # Stays closed to new requests until the sync of what is owed has worked.
            self._is_healthy = False
            self._flush()


def _sync_directory(directory: pathlib.Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
