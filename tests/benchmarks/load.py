"""Runs the load generator once and reads what it found; a wrong answer ends the bench."""

import dataclasses
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.benchmarks import machine
from tests.benchmarks.programs import BenchFailed

_PATIENCE_SECONDS: Final = 120.0


class Spread(msgspec.Struct, frozen=True):
    """A distribution in microseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    mean: float


class Used(msgspec.Struct, frozen=True):
    """What one process used in the window: seconds of a core, and resident bytes before and at the end."""

    pid: int
    user: float
    system: float
    rss_before: int
    rss: int


class Sample(msgspec.Struct, frozen=True):
    """One run of the load generator. ``processes`` are the system's, ``others`` the bench's own."""

    requests: int
    finished: int
    frames: int
    seconds: float
    wrong: int
    reconnects: int
    opened: int
    speaking: int
    complaint: str
    latency_us: Spread
    first_us: Spread
    gap_us: Spread
    machine_busy: float
    processes: list[Used]
    others: list[Used]
    marks: list[tuple[int, int]]

    @property
    def user_seconds(self) -> float:
        """Of the system under test, outside the kernel."""
        return sum(each.user for each in self.processes)

    @property
    def system_seconds(self) -> float:
        """Of the system under test, inside the kernel."""
        return sum(each.system for each in self.processes)

    @property
    def cpu_seconds(self) -> float:
        """Of the system under test, all of it."""
        return self.user_seconds + self.system_seconds

    @property
    def resident(self) -> int:
        """Bytes of the system under test at the end of the window."""
        return sum(each.rss for each in self.processes)

    @property
    def foreign_seconds(self) -> float:
        """Of the machine, used by nobody who belongs to this measurement."""
        known = self.cpu_seconds + sum(each.user + each.system for each in self.others)
        return max(0.0, self.machine_busy - known)

    @property
    def rate(self) -> float:
        """Whole answers a second."""
        return self.requests / self.seconds

    @property
    def cpu_us_per_request(self) -> float:
        """The headline of answers in one piece."""
        return self.cpu_seconds / max(1, self.requests) * 1e6

    @property
    def cpu_us_per_frame(self) -> float:
        """The headline of streams."""
        return self.cpu_seconds / max(1, self.frames) * 1e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How the load generator is to behave; ``count`` ends a loop after so many answers instead of ``seconds``.

    ``is_mixed``: the requests of one connection come with many keys in turn, as behind a proxy.
    """

    connections: int
    seconds: float = 3.0
    warm: float = 0.5
    mode: str = "loop"
    frames: int = 0
    ramp: float = 1.0
    count: int = 0
    is_mixed: bool = False


def run(
    program: Path, *, connect: str, requests: Path, plan: Plan, pids: Sequence[int], known: Sequence[int] = ()
) -> Sample:
    """One measurement of what answers at ``connect`` and runs as ``pids``. Raises BenchFailed on a wrong answer."""
    command = [
        *(str(program), "--connect", connect, "--requests", str(requests)),
        *("--connections", str(plan.connections), "--seconds", str(plan.seconds), "--warm", str(plan.warm)),
        *("--mode", plan.mode, "--frames", str(plan.frames), "--ramp", str(plan.ramp), "--count", str(plan.count)),
        *("--mixed", str(int(plan.is_mixed))),
    ]
    for option, processes in (("--pid", pids), ("--known", known)):
        for pid in processes:
            command += [option, str(pid)]
    patience = _PATIENCE_SECONDS + 3 * plan.seconds + plan.count / 100
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=patience,
        check=False,
        preexec_fn=machine.pinned(machine.LOAD_CORE),
    )
    if done.returncode not in (0, 1):
        raise BenchFailed(f"The load generator stopped: {done.stderr.decode()}")
    sample = msgspec.json.decode(done.stdout, type=Sample)
    if sample.wrong:
        raise BenchFailed(f"{sample.wrong} of {sample.finished} answers were wrong; the first: {sample.complaint}")
    return sample
