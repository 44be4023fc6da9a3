"""Follows runners for people who read along: their lines, redacted and limited, go into a ring in the database.

Only the provisioning worker does this. A thread follows one runner as long as somebody reads it; readers say so in rows
that go stale (:mod:`logs`). A thread that dies, or a worker, is followed by another, which begins where the last line
was.
"""

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from django.db import Error as DatabaseError
from django.db import connection, connections, transaction
from django.db.models import Q

from moorage.deployments.last_words import secret_values
from moorage.deployments.log_limits import Meter
from moorage.deployments.models import LogFollower, Replica, ReplicaStatus, RunnerLine
from moorage.deployments.redaction import Redactor
from moorage.fleet import errors as fleet_errors
from moorage.fleet.runner_output import LogLine, new_since
from moorage.fleet.runtime import ContainerRuntime
from moorage.kernel import clock

log = logging.getLogger(__name__)

#: Lines of a replica that are kept; older ones make way.
RING: Final = 1_000
#: A reader that has not been seen for so long has left.
STALE: Final = dt.timedelta(seconds=10)
#: Lines of before that somebody who begins to read gets.
TAIL: Final = 200
#: Runners that one worker follows at once.
MOST: Final = 64
#: Marks lines that no runner has printed.
OURS: Final = "moorage"
_FLUSH_SECONDS: Final = 0.25
_LOOK_SECONDS: Final = 2.0
_WATCH_SECONDS: Final = 0.5
_RECONNECT_SECONDS: Final = 2.0

_followed: set[str] = set()
_lock = threading.Lock()


def watch(runtime: Callable[[], ContainerRuntime], *, stop: threading.Event) -> None:
    """Follows whatever somebody reads, until ``stop``: the loop of a thread beside the provisioning worker's tasks,
    which may all be busy just when somebody wants to see why."""
    while not stop.wait(_WATCH_SECONDS):
        try:
            readers = LogFollower.objects.filter(seen_at__gt=clock.now() - STALE)
            for deployment_id in set(readers.values_list("deployment_id", flat=True)):
                begin(deployment_id, runtime=runtime())
        except DatabaseError as error:
            log.warning("log_watch_failed error=%s", str(error).strip())
            connections.close_all()
            stop.wait(_RECONNECT_SECONDS)


def begin(deployment_id: str, *, runtime: ContainerRuntime) -> int:
    """Follows every runner of the deployment that somebody reads and nobody here follows yet; how many that are."""
    begun = 0
    for replica in _wanted(deployment_id):
        with _lock:
            if replica.pk in _followed or len(_followed) >= MOST:
                continue
            _followed.add(replica.pk)
        threading.Thread(target=_run, args=(replica, runtime), name=f"log {replica.pk}", daemon=True).start()
        begun += 1
    return begun


def is_following(replica_id: str) -> bool:
    """Whether a thread of this process follows the replica's runner."""
    with _lock:
        return replica_id in _followed


def discard_old() -> int:
    """Removes lines of replicas that are gone and readers that have left; how many lines that were."""
    LogFollower.objects.filter(seen_at__lt=clock.now() - 6 * STALE).delete()
    deleted, _ = RunnerLine.objects.filter(
        replica__status=ReplicaStatus.GONE, replica__status_changed_at__lt=clock.now() - dt.timedelta(minutes=10)
    ).delete()
    return deleted


def _wanted(deployment_id: str) -> list[Replica]:
    readers = LogFollower.objects.filter(deployment_id=deployment_id, seen_at__gt=clock.now() - STALE)
    names = set(readers.values_list("replica_id", flat=True))
    if not names:
        return []
    replicas = Replica.objects.filter(deployment_id=deployment_id).exclude(
        Q(container_name="") | Q(status__in=[ReplicaStatus.GONE, ReplicaStatus.STOPPED])
    )
    if "" not in names:
        replicas = replicas.filter(pk__in=names)
    return list(replicas.select_related("revision", "deployment")[:MOST])


def _run(replica: Replica, runtime: ContainerRuntime) -> None:
    try:
        _Following(replica, runtime).go_on()
    except (fleet_errors.FleetError, DatabaseError) as error:
        # Whoever still reads asks again.
        log.warning("log_following_ended replica=%s error=%s", replica.pk, error)
    finally:
        with _lock:
            _followed.discard(replica.pk)
        connections.close_all()


class _Following:
    def __init__(self, replica: Replica, runtime: ContainerRuntime) -> None:
        self._replica = replica
        self._runtime = runtime
        self._redactor = Redactor(secret_values(replica))
        self._meter = Meter()
        self._pending: list[RunnerLine] = []
        self._flushed_at = self._looked_at = time.monotonic()
        self._told_in = int(self._flushed_at)
        self._since_trim = RING

    def go_on(self) -> None:
        """Until nobody reads any more, or the container has ended and everything is read."""
        at, seen = self._last()
        tail: int | None = None if at else TAIL
        while True:
            lines = self._runtime.follow_logs(self._replica.container_name, since=at, tail=tail)
            flooded_at: dt.datetime | None = None
            for line in new_since(lines, at=at, seen=seen):
                now = time.monotonic()
                if line is not None:
                    self._take(line, now)
                if now - self._flushed_at >= _FLUSH_SECONDS:
                    self._flush(now)
                if now - self._looked_at >= _LOOK_SECONDS and not self._is_read(now):
                    return
                if line is not None and self._meter.is_flooded:
                    flooded_at = line.at
                    break
            if flooded_at is None:
                break
            # Nobody can read so much. Of what comes until the next second only the last lines are looked at, and no
            # more of them than are kept: the very last ones say how it ended.
            self._meter.is_more = True
            tail = self._meter.most_kept(TAIL)
            time.sleep(1 - time.monotonic() % 1)
            at, seen = flooded_at + dt.timedelta(microseconds=1), 0
        self._flush(time.monotonic(), is_end=True)

    def _take(self, line: LogLine, now: float) -> None:
        # Redacted also when it is left out: a block of a private key goes on over lines.
        text = self._redactor.line(line.text)
        if self._meter.keeps(len(text), now):
            self._add(line.stream, line.at, text)

    def _add(self, stream: str, at: dt.datetime, text: str) -> None:
        replica = self._replica
        self._pending.append(
            RunnerLine(replica_id=replica.pk, deployment_id=replica.deployment_id, stream=stream, at=at, text=text)
        )

    def _flush(self, now: float, *, is_end: bool = False) -> None:
        self._flushed_at = now
        # Once a second: while it lasts, the number still grows.
        if is_end or int(now) != self._told_in:
            self._told_in = int(now)
            left_out = self._meter.tell()
            if left_out:
                self._add(OURS, clock.now(), left_out)
                self._pending.insert(0, self._pending.pop())
        if self._pending:
            self._write(self._pending)
            self._pending = []

    def _write(self, rows: Sequence[RunnerLine]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            # Ids are given in the order of commits within a deployment: no reader goes past a line that comes later.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"log {self._replica.deployment_id}"])
            RunnerLine.objects.bulk_create(rows)
            self._since_trim += len(rows)
            if self._since_trim >= RING // 5:
                self._since_trim = 0
                cursor.execute(
                    "DELETE FROM runner_line WHERE replica_id = %s AND id <="
                    " (SELECT id FROM runner_line WHERE replica_id = %s ORDER BY id DESC OFFSET %s LIMIT 1)",
                    [self._replica.pk, self._replica.pk, RING],
                )

    def _is_read(self, now: float) -> bool:
        self._looked_at = now
        return (
            LogFollower.objects.filter(deployment_id=self._replica.deployment_id, seen_at__gt=clock.now() - STALE)
            .filter(replica_id__in=["", self._replica.pk])
            .exists()
        )

    def _last(self) -> tuple[dt.datetime | None, int]:
        """The time of the last line that is known, and how many lines of that time are."""
        mine = RunnerLine.objects.filter(replica=self._replica).exclude(stream=OURS)
        last = mine.order_by("-id").values_list("at", flat=True).first()
        return last, mine.filter(at=last).count() if last else 0
