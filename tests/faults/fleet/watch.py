"""Looks several times a second at what must hold at every moment, in PostgreSQL and at the Engine, and keeps a history.

One look asks PostgreSQL, then the Engine, then PostgreSQL again: a container that neither of the two looks at the
database accounts for has been there without its room, for it cannot have got and lost it in between.
"""

import collections
import dataclasses
import threading
import time
from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

import docker.errors
import psycopg

from tests.faults.fleet.dockerd import Dockerd

EVERY_SECONDS: Final = 0.15
#: States of a container that holds memory.
LIVE: Final = frozenset({"created", "running", "paused", "restarting"})
#: An Engine that has just gone may have finished something whose effect is only now written down.
_SETTLE_SECONDS: Final = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """What PostgreSQL says at one moment."""

    #: Node: memory, memory used, CPU used by the counters; memory and CPU summed over its reservations.
    nodes: Mapping[str, tuple[int, int, int, int, int]]
    #: Device: memory, memory used by the counter, memory summed over its shares, how many organizations those are of.
    devices: Mapping[str, tuple[int, int, int, int]] = dataclasses.field(default_factory=dict)
    #: Replicas that hold room.
    held: frozenset[str]
    #: Replicas that are not gone: their status and the name of their container, empty before there can be one.
    replicas: Mapping[str, tuple[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """One look. ``containers`` are (replica, state); None where the Engine did not answer."""

    at: float
    before: Rows
    containers: tuple[tuple[str, str], ...] | None
    after: Rows


def violations(seen: Seen, rested: Set[str] = frozenset()) -> list[str]:
    """What does not hold in one look; ``rested`` are replicas that gave their room back asleep. Pure."""
    found = []
    for name, (memory, used, used_cpu, sum_memory, sum_cpu) in seen.before.nodes.items():
        if used > memory:
            found.append(f"{name} is oversold: {used} of {memory} bytes")
        if (used, used_cpu) != (sum_memory, sum_cpu):
            found.append(f"{name} counts {used} bytes, {used_cpu} m and its reservations {sum_memory}, {sum_cpu} m")
    for name, (memory, used, shares, owners) in seen.before.devices.items():
        if used > memory or used != shares or owners > 1:
            found.append(
                f"{name}: {used} of {memory} bytes are used, {shares} are shared out to {owners} organizations"
            )
    if seen.containers is None:
        return found
    live = collections.Counter(replica for replica, state in seen.containers if state in LIVE)
    found += [f"{replica} has {number} live containers" for replica, number in live.items() if number > 1]
    for replica, state in seen.containers:
        if replica in seen.before.held or replica in seen.after.held:
            continue
        # A stopped replica keeps its container, also while it is being removed, and what it had is given back.
        if state in LIVE or (replica not in rested and replica not in stopped(seen)):
            found.append(f"the room of {replica} was released while its container is {state}")
    return found


def stopped(seen: Seen) -> set[str]:
    """Replicas that are stopped in one of the two looks at the database. Pure."""
    return {
        replica
        for rows in (seen.before, seen.after)
        for replica, (status, _) in rows.replicas.items()
        if status == "stopped"
    }


def violations_while_away(first: Rows, last: Rows) -> list[str]:
    """What must not have happened from ``first`` to ``last`` while no Engine could be asked. Pure."""
    found = []
    for replica in first.held - last.held:
        if first.replicas.get(replica, ("", ""))[1]:
            found.append(f"the room of {replica} was released while nobody could say that its container is gone")
    for replica, (status, _) in first.replicas.items():
        later = last.replicas.get(replica, ("gone", ""))[0]
        if status in {"ready", "draining", "stopping", "frozen"} and later in {"gone", "failed"}:
            found.append(f"{replica} was {status} and is called {later} while nobody could see it")
    return found


class Watch:
    """A thread that looks until :meth:`stop`. ``history`` has the changes, ``broken`` what did not hold."""

    def __init__(self, *, database_url: str, dockerd: Dockerd, instance: str) -> None:
        self.history: list[str] = []
        self.broken: list[str] = []
        self.looks = 0
        self.looks_at_engine = 0
        self._url = database_url
        self._dockerd = dockerd
        self._instance = instance
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._last: object = None
        self._away: tuple[float, Rows] | None = None
        self._is_away = False
        self._rested: set[str] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def note(self, event: str) -> None:
        """A deed of the test, for the history."""
        self.history.append(f"{time.monotonic() - self._began:8.2f}  {event}")

    def engine_is_away(self) -> None:
        """From now on the workers cannot ask the Engine, though this watch may."""
        self.note("the Engine is away")
        self._is_away = True

    def engine_is_back(self) -> None:
        """It may be asked again."""
        self._is_away = False
        self.note("the Engine is back")

    def check(self) -> None:
        """Fails with the history if anything did not hold so far."""
        assert not self.broken, "\n".join([*self.broken[:20], "--- history", *self.history[-200:]])

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                with psycopg.connect(self._url, connect_timeout=3, autocommit=True) as connection:
                    while not self._stop.wait(EVERY_SECONDS):
                        self._look(connection)
            except psycopg.Error:
                # The database is away, too; nothing can be said of this moment.
                continue

    def _look(self, connection: "psycopg.Connection[Any]") -> None:
        before = read(connection)
        containers = self._containers()
        after = read(connection)
        seen = Seen(at=time.monotonic(), before=before, containers=containers, after=after)
        self.looks += 1
        self.looks_at_engine += containers is not None
        # Who holds room and is not stopped any more has woken.
        self._rested = (self._rested - after.held) | stopped(seen)
        found = violations(seen, self._rested)
        if self._is_away or containers is None:
            if self._away is None:
                self._away = (seen.at + _SETTLE_SECONDS, after)
            elif seen.at < self._away[0]:
                self._away = (self._away[0], after)
            elif self._is_away:
                found += violations_while_away(self._away[1], before)
        else:
            self._away = None
        state = (sorted(containers or ()), sorted(after.held), sorted(after.replicas.items()))
        if state != self._last:
            self._last = state
            told = ", ".join(f"{replica[-6:]} {status}" for replica, (status, _) in sorted(after.replicas.items()))
            there = "?" if containers is None else ", ".join(f"{name[-6:]} {how}" for name, how in sorted(containers))
            room = " ".join(sorted(replica[-6:] for replica in after.held))
            self.note(f"replicas [{told}] containers [{there}] room [{room}]")
        for one in found:
            self.note(f"BROKEN {one}")
            self.broken.append(f"{time.monotonic() - self._began:8.2f}  {one}")

    def _containers(self) -> tuple[tuple[str, str], ...] | None:
        try:
            with self._dockerd.client(seconds=2) as client:
                listed: Sequence[Mapping[str, Any]] = client.containers(
                    all=True, filters={"label": f"moorage.instance={self._instance}"}
                )
        except (docker.errors.DockerException, OSError):
            return None
        return tuple((one["Labels"]["moorage.replica"], one["State"]) for one in listed)


def read(connection: "psycopg.Connection[Any]") -> Rows:
    """One consistent look at the database."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        nodes = connection.execute(
            "SELECT n.name, n.memory_bytes, n.used_memory_bytes, n.used_cpu_millis,"
            " coalesce(sum(r.memory_bytes), 0), coalesce(sum(r.cpu_millis), 0)"
            " FROM node n LEFT JOIN reservation r ON r.node_id = n.id GROUP BY n.id"
        ).fetchall()
        devices = connection.execute(
            "SELECT d.id, d.memory_bytes, d.used_memory_bytes, coalesce(sum(s.memory_bytes), 0),"
            " count(DISTINCT s.organization_id)"
            " FROM device d LEFT JOIN device_share s ON s.device_id = d.id GROUP BY d.id"
        ).fetchall()
        held = connection.execute("SELECT replica_id FROM reservation").fetchall()
        replicas = connection.execute(
            "SELECT id, status, container_name FROM replica WHERE status <> 'gone'"
        ).fetchall()
    return Rows(
        nodes={row[0]: tuple(int(number) for number in row[1:]) for row in nodes},  # type: ignore[misc]
        devices={row[0]: tuple(int(number) for number in row[1:]) for row in devices},  # type: ignore[misc]
        held=frozenset(row[0] for row in held),
        replicas={row[0]: (row[1], row[2]) for row in replicas},
    )
