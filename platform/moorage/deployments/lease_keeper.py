"""Keeps leases while their holders are in a call that lasts: one thread of a process renews what the others hold.

A call of the container runtime may last longer than a lease. Without this, whoever looks next would begin the same work
beside it. It saves that, and decides nothing: a process that stands still loses its leases all the same, and then it is
the epochs that keep its writes out.
"""

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Iterator
from typing import Final

from django.db import Error, connection

from moorage.deployments import leases

log = logging.getLogger(__name__)

#: A third of a lease: two renewals may fail.
EVERY_SECONDS: Final = leases.LEASE.total_seconds() / 3
#: Who has not shown itself for so long hangs: somebody else may try. No call of a runtime lasts as long.
MOST_SECONDS: Final = 300.0


@dataclasses.dataclass(kw_only=True, eq=False)
class Hold:
    """A lease in use. ``shown_at``: when its holder last came by, on the monotonic clock."""

    model: leases.Row
    pk: str
    epoch: int
    renewed_at: float
    shown_at: float

    def show(self) -> None:
        """Whoever works with it does not hang."""
        self.shown_at = time.monotonic()


class Keeper:
    """The leases of one process. A short hold costs a place in a set: nothing is asked before it is due."""

    def __init__(self, *, every_seconds: float = EVERY_SECONDS, most_seconds: float = MOST_SECONDS) -> None:
        self._every, self._most = every_seconds, most_seconds
        self._holds: set[Hold] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def keeping(self, model: leases.Row, pk: str, epoch: int) -> Iterator[Hold]:
        """Renews the lease of ``epoch`` until the block ends. Giving it back, or losing it, ends that as well."""
        now = time.monotonic()
        hold = Hold(model=model, pk=pk, epoch=epoch, renewed_at=now, shown_at=now)
        with self._lock:
            self._holds.add(hold)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
        try:
            yield hold
        finally:
            with self._lock:
                self._holds.discard(hold)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._every / 4)
            now = time.monotonic()
            with self._lock:
                due = [one for one in self._holds if self.is_due(one, now=now)]
            if due:
                self._renew(due, now)

    def is_due(self, hold: Hold, *, now: float) -> bool:
        """Whether it is time to renew, at ``now`` of the monotonic clock."""
        return now - hold.renewed_at >= self._every and now - hold.shown_at < self._most

    def _renew(self, due: list[Hold], now: float) -> None:
        try:
            for hold in due:
                if leases.renew(hold.model, hold.pk, hold.epoch):
                    hold.renewed_at = now
                else:
                    with self._lock:
                        self._holds.discard(hold)
        except Error as error:
            log.warning("lease_not_renewed error=%s", error)
        finally:
            # Long holds are rare: no connection is kept for them.
            connection.close()


#: The one of this process.
KEEPER: Final = Keeper()
