"""Everything but the system under test: the compiled programs, the fake engine, the databases, a place for files."""

import contextlib
import dataclasses
import fcntl
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks import database, load, machine, programs, traffic
from tests.waiting import wait_until

#: Unix sockets of the engine: a deployment of two replicas.
_REPLICAS: Final = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """``folder`` lasts from run to run; ``short`` is gone afterwards, and its path is short enough for sockets."""

    folder: Path
    short: Path
    binaries: dict[str, Path]
    databases: database.Databases
    engine_pid: int
    engine_port: int
    sockets: tuple[Path, ...]

    @property
    def work(self) -> Path:
        """For journals and logs: on the disk of ``folder``, where /tmp may be memory."""
        place = self.folder / "work"
        place.mkdir(exist_ok=True)
        return place

    @property
    def engine_host(self) -> str:
        """Where the engine listens on TCP, for those who cannot use its sockets."""
        return f"127.0.0.1:{self.engine_port}"

    def measure(
        self, *, host: str, pids: list[int], caller: traffic.Caller, shape: traffic.Shape, plan: load.Plan
    ) -> load.Sample:
        """One run of the load generator. Raises BenchFailed on a wrong answer."""
        requests = traffic.write(self.short / "requests", shape=shape, caller=caller)
        known = [pid for pid in (self.engine_pid, os.getpid(), *self.databases.pids) if pid not in pids]
        return load.run(self.binaries["load"], connect=host, requests=requests, plan=plan, pids=pids, known=known)


@contextlib.contextmanager
def built(folder: Path) -> Iterator[Stage]:
    """The stage while the block runs, this process on the load's core. Raises BenchFailed."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(folder.stat().st_mode | 0o011)
    binaries = programs.build(folder / "bin")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {machine.LOAD_CORE})
    try:
        with (
            _alone(folder),
            tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as name,
            database.running(folder) as databases,
        ):
            short = Path(name)
            sockets = tuple(short / f"{number}.sock" for number in range(_REPLICAS))
            port = free_port()
            command = [str(binaries["engine"]), "--tcp", f"127.0.0.1:{port}"]
            for path in sockets:
                command += ["--unix", str(path)]
            log = short / "engine.log"
            with machine.program(command, core=machine.LOAD_CORE, log=log) as engine:
                wait_until(lambda: machine.first_line(log, engine, "ready"), seconds=10, what="the engine")
                yield Stage(
                    folder=folder,
                    short=short,
                    binaries=binaries,
                    databases=databases,
                    engine_pid=engine.pid,
                    engine_port=port,
                    sockets=sockets,
                )
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two at once would measure each other, on the same database."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another bench is running here; waiting for it.", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A TCP port of the loopback that nobody uses at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
