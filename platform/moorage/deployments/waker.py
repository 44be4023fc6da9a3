"""The waker: hears in PostgreSQL that somebody waits, and brings the replica back without a queue in between.

It lives inside the provisioning worker, the only process that may speak to the container runtime, on a connection of
its own. It holds nothing and may die at any time: the doorbell rings Celery for the same wake a moment later, and the
sweep finds it without any message.
"""

import concurrent.futures
import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import psycopg
from django.db import DatabaseError, connection
from psycopg.conninfo import make_conninfo

from moorage.deployments import arrivals, life, reconcile
from moorage.fleet import services as fleet
from moorage.fleet.runtime import ContainerRuntime
from moorage.kernel import clock
from moorage.kernel.errors import PlatformError
from moorage.wire.records import WAKE_REQUESTED

log = logging.getLogger(__name__)

_RECONNECT_SECONDS: Final = 1.0
_LISTEN_SECONDS: Final = 20.0
#: How often this machine reports itself: one that has not for long takes nothing new before it has, which is no work
#: for a wake.
_REPORT_SECONDS: Final = 240.0
#: Wakes that are answered at once; one that waits for an engine to load holds its place meanwhile.
_HANDS: Final = 16
#: Of those, ready before the first wake.
_OPEN_HANDS: Final = 4
#: Looks after the short way: one that drives, and one that publishes what was driven. More is left to the doorbell.
_ROUNDS: Final = 2


class Waker:
    """``run`` it in a thread of its own, for ever; or ``heard`` it by hand. One flight a deployment at a time."""

    def __init__(self, *, url: str, runtime: Callable[[], ContainerRuntime], hands: int = _HANDS) -> None:
        self._url = url
        self._runtime = runtime
        self._hands = concurrent.futures.ThreadPoolExecutor(hands, thread_name_prefix="wake", initializer=_ready)
        self._lock = threading.Lock()
        #: Deployments that are being answered, and whether they were heard of again meanwhile.
        self._flights: dict[str, bool] = {}

    def run(self) -> None:
        """Listens until the process ends; connects again when the database goes away."""
        while True:
            try:
                self._open_hands()
                with psycopg.connect(self._url, autocommit=True, application_name="moorage-waker") as listening:
                    self._listen(listening)
            except psycopg.OperationalError as error:
                log.warning("waker_disconnected error=%s", str(error).strip())
            time.sleep(_RECONNECT_SECONDS)

    def _open_hands(self) -> None:
        """What a wake needs is there before it comes: threads, their connections to the database and to the runtime."""
        together = threading.Barrier(_OPEN_HANDS)

        def open_one() -> None:
            together.wait(timeout=_LISTEN_SECONDS)
            self._runtime().ping()

        opened = [self._hands.submit(open_one) for _ in range(_OPEN_HANDS)]
        concurrent.futures.wait(opened)

    def _listen(self, listening: "psycopg.Connection[tuple[object, ...]]") -> None:
        listening.execute(f"LISTEN {WAKE_REQUESTED}")
        # Listening comes first: a wish that is written meanwhile is then heard twice rather than never.
        for (deployment_id,) in listening.execute("SELECT DISTINCT deployment_id FROM wake"):
            self.heard(str(deployment_id))
        log.info("waker_listening")
        reported_at = time.monotonic()
        while True:
            if time.monotonic() - reported_at > _REPORT_SECONDS:
                reported_at = time.monotonic()
                self._hands.submit(_report)
            for notice in listening.notifies(timeout=_LISTEN_SECONDS):
                self.heard(notice.payload)
            listening.execute("SELECT 1")

    def heard(self, deployment_id: str) -> None:
        """Somebody waits for a model of this deployment. Returns at once."""
        with self._lock:
            is_new = deployment_id not in self._flights
            self._flights[deployment_id] = not is_new
        if is_new:
            self._hands.submit(self._answer, deployment_id)

    def _answer(self, deployment_id: str) -> None:
        began = time.monotonic()
        try:
            answer(deployment_id, runtime=self._runtime(), beside=self._hands.submit)
        except DatabaseError as error:
            log.warning("wake_broken_off deployment=%s error=%s", deployment_id, str(error).strip())
            connection.close()
        except PlatformError as error:
            log.warning("wake_broken_off deployment=%s error=%s", deployment_id, error.message)
        except Exception:
            # One wake that goes wrong must not end the thread's work for the others.
            log.exception("wake_failed deployment=%s", deployment_id)
        finally:
            with self._lock:
                was_heard_again = self._flights.pop(deployment_id)
        log.info("wake_answered deployment=%s seconds=%.3f", deployment_id, time.monotonic() - began)
        if was_heard_again:
            self.heard(deployment_id)

    def close(self) -> None:
        """Waits for what is under way."""
        self._hands.shutdown()


def database_url() -> str:
    """Where the control plane's database is, for a connection beside Django's."""
    chosen = connection.get_connection_params()
    names = {key: chosen[key] for key in ("dbname", "user", "password", "host", "port") if chosen.get(key)}
    return make_conninfo(**names)


def answer(deployment_id: str, *, runtime: ContainerRuntime, beside: Callable[..., object] | None = None) -> None:
    """Serves whoever waits for ``deployment_id``: the short way first, then a look at all of it.

    ``beside(function, *arguments)`` runs the drives of further models at the same time. Raises DatabaseError,
    PlatformError.
    """
    heard = clock.now()
    first, *others = arrivals.wished(deployment_id) or (None,)
    marks = {"heard": heard, "wished": clock.now()}
    for other in others:
        assert other is not None
        (beside or _at_once)(_bring, other, runtime, marks)
    if first is not None:
        arrivals.bring(first, runtime=runtime, marks=marks)
    for _ in range(_ROUNDS):
        to_drive = reconcile.reconcile(deployment_id, runtime=runtime)
        for replica_id in to_drive:
            life.drive(replica_id, runtime=runtime)
        if not to_drive:
            break


def _at_once(function: Callable[..., object], *arguments: object) -> None:
    function(*arguments)


def _bring(one: arrivals.Wished, runtime: ContainerRuntime, marks: Mapping[str, dt.datetime]) -> None:
    try:
        arrivals.bring(one, runtime=runtime, marks=marks)
    except (DatabaseError, PlatformError) as error:
        log.warning("wake_broken_off replica=%s error=%s", one.replica_id, error)
        connection.close()


def _report() -> None:
    try:
        fleet.report()
    except (DatabaseError, PlatformError) as error:
        log.warning("waker_not_reported error=%s", str(error).strip())
        connection.close()


def _ready() -> None:
    """A hand opens its connection before it is needed, and does not wait for the disk: what a crash of the database
    forgets, the next look finds, and a stop goes by the container's one name."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit TO off")
    except DatabaseError as error:
        log.warning("waker_without_database error=%s", str(error).strip())
