"""A runner's lines, for people. Only the provisioning worker can read them from the runtime.

:func:`tail` asks it by a message and waits a moment for the last lines. :class:`Following` reads along as long as
somebody listens: it says so in a row and reads what :mod:`log_following` writes. Every reader holds a thread of the web
process, so there are only so many, and each ends after a while; whoever comes back goes on after the last line.
"""

import dataclasses
import datetime as dt
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Final, Literal

from django.db import close_old_connections, connection
from django.db.models import QuerySet
from kombu.exceptions import OperationalError

from moorage.deployments import tasks
from moorage.deployments.errors import TooManyReading
from moorage.deployments.log_following import STALE, TAIL
from moorage.deployments.models import (
    Deployment,
    DeploymentStatus,
    LogFollower,
    Replica,
    ReplicaLog,
    ReplicaStatus,
    RunnerLine,
)
from moorage.kernel import clock

_PATIENCE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.05

#: Readers of one organization at once.
READERS_MOST: Final = 4
#: Readers of one web process at once, of its 16 threads.
PLACES: Final = 5
#: A reader is sent away after this long, and may come back at once.
READ_SECONDS: Final = 900.0
_LOOK_SECONDS: Final = 0.25
_RING_SECONDS: Final = 3.0
_PING_SECONDS: Final = 10.0
_AT_ONCE: Final = 500
#: After a replica is gone, its last lines may still be on their way.
_AFTER_END_SECONDS: Final = 1.0

_places = threading.BoundedSemaphore(PLACES)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something a reader is told. ``id`` of a line is where to go on after it; 0: nowhere."""

    kind: Literal["line", "ping", "end"]
    id: int = 0
    replica_id: str = ""
    stream: str = ""  #: stdout | stderr | moorage (a line of ours)
    at: dt.datetime | None = None
    text: str = ""  #: of the end: why, as a sentence


def tail(replica: Replica) -> str:
    """The last lines (at most 200) of ``replica``'s runner: fresh if the worker answers in time, else those known."""
    asked_at = clock.now()
    if replica.status != ReplicaStatus.GONE and replica.container_name:
        try:
            tasks.fetch_log.delay(replica.pk)
        except OperationalError:
            return _known(replica)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if ReplicaLog.objects.filter(replica=replica, fetched_at__gte=asked_at).exists():
                break
            time.sleep(_PAUSE_SECONDS)
    return _known(replica)


class Following:
    """The lines of a deployment's runners, or of one, as they come: iterate it once, and close it.

    ``after`` is the id of the last event that was seen: lines that are kept and newer come first; without it the last
    ones. ``may_go_on`` is asked every few seconds: whoever lost the right to read is sent away.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        replica: Replica | None = None,
        after: int | None = None,
        may_go_on: Callable[[], bool] = lambda: True,
        seconds: float = READ_SECONDS,
    ) -> None:
        """Raises TooManyReading."""
        if not _places.acquire(blocking=False):
            raise TooManyReading("Every place for reading along is taken. Try again in a minute.")
        # Whoever forgets to close it, or is cut off before the first line, gives the place back all the same.
        self._leave = weakref.finalize(self, _places.release)
        try:
            self._row = _enter(deployment, replica)
        except BaseException:
            self._leave()
            raise
        self._deployment = deployment
        self._replica = replica
        self._after = after
        self._may_go_on = may_go_on
        self._deadline = time.monotonic() + seconds

    def __iter__(self) -> Iterator[Event]:
        try:
            yield from self._events()
        finally:
            self.close()

    def close(self) -> None:
        """Gives the place back. Idempotent."""
        if self._leave.alive:
            self._leave()
            LogFollower.objects.filter(pk=self._row.pk).delete()

    def _events(self) -> Iterator[Event]:
        lines = self._begin()
        yield Event(kind="ping")
        spoke_at, rang_at, ended_at = time.monotonic(), float("-inf"), 0.0
        pause = threading.Event()
        while True:
            for line in lines:
                self._after = line.pk
                yield Event(
                    kind="line",
                    id=line.pk,
                    replica_id=line.replica_id,
                    stream=line.stream,
                    at=line.at,
                    text=line.text,
                )
            now = time.monotonic()
            if lines:
                spoke_at = now
            elif now - spoke_at >= _PING_SECONDS:
                spoke_at = now
                yield Event(kind="ping", id=self._after or 0)
            if now - rang_at >= _RING_SECONDS:
                rang_at = now
                if not self._may_go_on():
                    yield Event(kind="end", text="You may not read this any longer.")
                    return
                LogFollower.objects.filter(pk=self._row.pk).update(seen_at=clock.now())
                ended_at = ended_at or (now if self._is_over() else 0.0)
            if ended_at and now - ended_at >= _AFTER_END_SECONDS and not lines:
                yield Event(kind="end", text="It has ended; this is all it said.")
                return
            if now >= self._deadline:
                yield Event(kind="end", id=self._after or 0, text="That was long enough; come back to go on.")
                return
            if len(lines) < _AT_ONCE:
                pause.wait(_LOOK_SECONDS)
                if not connection.in_atomic_block:
                    close_old_connections()
            lines = list(self._rows().filter(pk__gt=self._after or 0).order_by("pk")[:_AT_ONCE])

    def _begin(self) -> list[RunnerLine]:
        rows = self._rows()
        if self._after is not None:
            return list(rows.filter(pk__gt=self._after).order_by("pk")[:_AT_ONCE])
        known = list(rows.order_by("-pk")[:TAIL])[::-1]
        if not known and self._replica is not None and self._is_over():
            text = _known(self._replica)
            at = self._replica.status_changed_at
            known = [
                RunnerLine(id=0, replica=self._replica, stream="stdout", at=at, text=one) for one in text.split("\n")
            ]
        self._after = known[-1].pk if known else 0
        return known

    def _rows(self) -> QuerySet[RunnerLine]:
        rows = RunnerLine.objects.filter(deployment_id=self._deployment.pk)
        return rows if self._replica is None else rows.filter(replica=self._replica)

    def _is_over(self) -> bool:
        """Nothing more will be said by what is read."""
        if self._replica is not None:
            return Replica.objects.filter(pk=self._replica.pk, status=ReplicaStatus.GONE).exists()
        return Deployment.objects.filter(pk=self._deployment.pk, status=DeploymentStatus.DELETED).exists()


def _enter(deployment: Deployment, replica: Replica | None) -> LogFollower:
    """The reader's row. Two that come at once count each other: the later one goes."""
    row = LogFollower.objects.create(
        organization_id=deployment.organization_id,
        deployment_id=deployment.pk,
        replica_id=replica.pk if replica else "",
        seen_at=clock.now(),
    )
    others = LogFollower.objects.filter(
        organization_id=deployment.organization_id, seen_at__gt=clock.now() - STALE, pk__lt=row.pk
    )
    if others.count() >= READERS_MOST:
        row.delete()
        raise TooManyReading
    return row


def _known(replica: Replica) -> str:
    return ReplicaLog.objects.filter(replica=replica).values_list("text", flat=True).first() or ""
