"""Sixty at once, in processes that are killed: never more than there is, judged by SQL while it happens.

Replay a run with MOORAGE_FAULT_SEED; MOORAGE_FAULT_KILLS=300 is the long one.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
from django.conf import settings

from moorage.billing import roles
from moorage.fleet import declared_pool, services
from moorage.fleet.models import Reservation
from tests.conftest import ROOT_ENVIRONMENT, test_database_url
from tests.waiting import wait_until

SEED = int(os.environ.get("MOORAGE_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
KILLS = int(os.environ.get("MOORAGE_FAULT_KILLS") or 12)
WORKERS = 6
POOL = {
    "nodes": [
        {"name": f"gpu-{n}", "memory": "96g", "cpus": 32, "gpus": [{"name": "H100", "memory": "80g", "count": 4}]}
        for n in range(3)
    ]
}
#: One statement, one picture: rows of it are lies.
LIES = """
SELECT 'node ' || node.name || ' counts ' || node.used_memory_bytes || ' and holds ' || coalesce(sum(r.memory_bytes), 0)
FROM node LEFT JOIN reservation r ON r.node_id = node.id
GROUP BY node.id HAVING node.used_memory_bytes <> coalesce(sum(r.memory_bytes), 0)
    OR node.used_cpu_millis <> coalesce(sum(r.cpu_millis), 0) OR node.used_memory_bytes > node.memory_bytes
UNION ALL
SELECT 'device ' || vendor_id || ' counts ' || used_memory_bytes || ' and shares ' || coalesce(sum(s.memory_bytes), 0)
FROM device LEFT JOIN device_share s ON s.device_id = device.id
GROUP BY device.id HAVING device.used_memory_bytes <> coalesce(sum(s.memory_bytes), 0)
    OR device.used_memory_bytes > device.memory_bytes
    OR (device.reservation_id IS NOT NULL AND count(s.id) > 0) OR count(DISTINCT s.organization_id) > 1
UNION ALL
SELECT 'device ' || device.vendor_id || ' is of ' || device.organization_id || ' and held by ' || r.organization_id
FROM device JOIN reservation r ON r.replica_id = device.reservation_id
WHERE r.organization_id <> device.organization_id OR r.node_id <> device.node_id
"""


class Workers:
    """The processes, by seed; started again after every kill. ``given`` counts reservations."""

    def __init__(self, home: Path) -> None:
        self.given = 0
        self._home = home
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []
        for number in range(WORKERS):
            self._start(number)

    def kill(self, number: int) -> None:
        """``kill -9`` one, and start it again."""
        self._processes[number].send_signal(signal.SIGKILL)
        self._processes[number].wait()
        self._start(number)

    def stop(self) -> None:
        """All of them, for good."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        for reader in self._readers:
            reader.join()

    def _start(self, number: int) -> None:
        environment = {
            **ROOT_ENVIRONMENT,
            "DATABASE_URL": test_database_url(roles.APP),
            "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
            "PYTHONPATH": os.pathsep.join((str(settings.REPOSITORY / "platform"), str(settings.REPOSITORY))),
            "MOORAGE_HOME": str(self._home),
            "MOORAGE_RUNTIME": "memory",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fleet.reserver", str(number)],
            cwd=settings.REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes[number] = process
        reader = threading.Thread(target=self._count, args=(process,))
        reader.start()
        self._readers.append(reader)

    def _count(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for _ in process.stdout:
                self.given += 1


@contextlib.contextmanager
def sampled(url: str, lies: list[str], counts: list[int]) -> Iterator[None]:
    """Asks for lies all the time, over a connection of its own."""
    is_over = threading.Event()

    def ask() -> None:
        with psycopg.connect(url, autocommit=True) as plain:
            while not is_over.wait(0.02):
                lies.extend(row[0] for row in plain.execute(LIES).fetchall())
                counts.append(plain.execute("SELECT count(*) FROM reservation").fetchone()[0])  # type: ignore[index]

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_sixty_at_once_in_workers_that_are_killed_never_get_more_than_there_is(
    committed_db: None, tmp_path: Path, database_url: str
) -> None:
    print(f"\nMOORAGE_FAULT_SEED={SEED} MOORAGE_FAULT_KILLS={KILLS}")
    chance, pause = random.Random(SEED), threading.Event()
    declared_pool.declare(declared_pool.parse(POOL))
    lies: list[str] = []
    counts: list[int] = []
    workers = Workers(tmp_path)
    try:
        with sampled(database_url, lies, counts):
            for _ in range(KILLS):
                before = workers.given
                wait_until(lambda before=before: workers.given > before + 20, seconds=60, what="room to be given")
                pause.wait(chance.uniform(0, 0.3))
                workers.kill(chance.randrange(WORKERS))
    finally:
        workers.stop()
    with psycopg.connect(database_url, autocommit=True) as plain:
        # A killed worker's statement may still be running in its backend.
        wait_until(
            lambda: plain.execute(
                "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database()"
                " AND state <> 'idle' AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchone()[0]  # type: ignore[index]
        )
        left = [row[0] for row in plain.execute(LIES).fetchall()]
    print(f"{workers.given} reservations, {KILLS} kills, {len(counts)} pictures, at most {max(counts)} held at once")

    assert lies == []
    assert left == []
    assert max(counts) > 12

    for replica_id in Reservation.objects.values_list("pk", flat=True):
        services.release(replica_id=replica_id)
    with psycopg.connect(database_url, autocommit=True) as plain:
        assert plain.execute(
            "SELECT sum(used_memory_bytes) + (SELECT sum(used_memory_bytes) FROM device)"
            " + (SELECT count(*) FROM device WHERE organization_id <> '' OR reservation_id IS NOT NULL)"
            " + (SELECT count(*) FROM device_share) FROM node"
        ).fetchone() == (0,)
