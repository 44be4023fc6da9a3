"""The two gates without which numbers are noise: is the machine quiet, and do its cores share a cache.

The same binary costs twice as much per request when the two cores do not share one, and on a virtual machine that
changes every few minutes. Both are measured around every run and stand beside its figures.
"""

import dataclasses
import os
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.benchmarks import machine

#: A cache line's way to the other core and back, in nanoseconds, while they share a cache.
NEAR_NS: Final = 200.0
#: Share of one core that others may use before a run, and seconds of a core during it.
QUIET_SHARE: Final = 0.06
QUIET_SECONDS: Final = 0.4
_PATIENCE: Final = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gates:
    """What was seen around one run."""

    near_ns: float
    busy_share: float
    foreign_seconds: float = 0.0

    @property
    def is_near(self) -> bool:
        """Whether both cores shared a cache, before and after."""
        return self.near_ns < NEAR_NS

    @property
    def is_quiet(self) -> bool:
        """Whether nobody else used the machine, before and during."""
        return self.busy_share < QUIET_SHARE and self.foreign_seconds < QUIET_SECONDS

    def __str__(self) -> str:
        quiet = "quiet" if self.is_quiet else f"busy {self.busy_share:.0%}+{self.foreign_seconds:.1f}s"
        return f"{quiet}, {self.near_ns:.0f} ns"


def distance(program: Path) -> float:
    """Nanoseconds between the two cores and back; 0 where there is only one."""
    if machine.SYSTEM_CORE == machine.LOAD_CORE:
        return 0.0
    command = [str(program), str(machine.SYSTEM_CORE), str(machine.LOAD_CORE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return float(done.stdout)


def busy_share(seconds: float) -> float:
    """How much of one core the machine uses by itself, watched for ``seconds``; waits a little for it to be quiet."""
    share = 0.0
    for _ in range(_PATIENCE if seconds > 0 else 0):
        before, began = _busy_seconds(), time.monotonic()
        time.sleep(seconds)
        share = (_busy_seconds() - before) / (time.monotonic() - began)
        if share < QUIET_SHARE:
            break
    return share


def _busy_seconds() -> float:
    user, nice, system, _idle, _wait, interrupt, soft, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + interrupt + soft + steal) / os.sysconf("SC_CLK_TCK")
