"""A real gateway worker on the core of the system under test, with a journal of its own that is thrown away."""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from tests.benchmarks import machine
from tests.benchmarks.database import ROOT
from tests.waiting import wait_until


@dataclasses.dataclass(frozen=True, kw_only=True)
class Worker:
    """A gateway that has read its state."""

    port: int
    pid: int
    place: Path

    @property
    def host(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def pids(self) -> list[int]:
        """The worker and whatever it started."""
        return machine.tree(self.pid)

    def sweep(self) -> None:
        """Delete the segments that it writes to no more, and the log: nobody takes them away here."""
        os.truncate(self.place / "gateway.log", 0)
        for path in sorted((self.place / "journal").glob("*.journal"))[:-2]:
            path.unlink(missing_ok=True)

    def begin_samples(self) -> None:
        """Begin to note where a sampled gateway is."""
        (self.place / "stacks").unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)

    def end_samples(self) -> list[tuple[list[str], int]]:
        """Stacks, and how often each was seen."""
        os.kill(self.pid, signal.SIGUSR2)
        file = self.place / "stacks"
        wait_until(file.exists, seconds=20, what="the samples")
        return msgspec.json.decode(file.read_bytes(), type=list[tuple[list[str], int]])


def native_code() -> Path:
    """The folder in which `./manage.py compile` leaves what a gateway uses."""
    named = os.environ.get("MOORAGE_GATEWAY_COMPILED")
    return Path(named) if named else Path(os.environ.get("MOORAGE_HOME") or ".moorage").absolute() / "compiled"


@contextlib.contextmanager
def serving(
    folder: Path,
    *,
    database_url: str,
    is_sampled: bool = False,
    tree: Path = ROOT,
    settings: Mapping[str, str] = MappingProxyType({}),
    module: str = "moorage.gateway",
) -> Iterator[Worker]:
    """A gateway while the block runs, out of the working tree or another; ``settings`` are environment variables.

    Raises BenchFailed.
    """
    place = Path(tempfile.mkdtemp(prefix="gateway-", dir=folder))
    log = place / "gateway.log"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{tree / 'platform'}{os.pathsep}{ROOT}",
        "DATABASE_URL": database_url,
        "MOORAGE_JOURNAL_DIR": str(place / "journal"),
        "MOORAGE_GATEWAY_PORT": "0",
        "MOORAGE_GATEWAY_COMPILED": str(native_code()),
        "MOORAGE_BENCH_SAMPLES": str(place / "stacks"),
        **settings,
    }
    module = "tests.benchmarks.sampled_gateway" if is_sampled else module
    try:
        with machine.program(
            [sys.executable, "-m", module], core=machine.SYSTEM_CORE, log=log, environment=environment, directory=place
        ) as process:
            started = wait_until(
                lambda: machine.first_line(log, process, "gateway_started"), seconds=30, what="the gateway to start"
            )
            wait_until(
                lambda: machine.first_line(log, process, "state_loaded"),
                seconds=60,
                what="the gateway to know its keys",
            )
            found = re.search(r"\bport=(\d+)", started or "")
            assert found is not None, started
            yield Worker(port=int(found[1]), pid=process.pid, place=place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
