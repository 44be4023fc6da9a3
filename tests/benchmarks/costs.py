"""What the machine takes for itself: a system call, waking the other core, a small record's way to the disk.

Floors in microseconds were set on one machine, and no gateway can be quicker than these. Beside them a figure can be
read on another: four wakes are in every request that goes over a proxy on an idle core, and one sync in every answer
that waits for its record.
"""

import dataclasses
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.benchmarks import machine

_RECORD: Final = b"x" * 400
_SYNCS: Final = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Costs:
    """Nanoseconds of a system call, microseconds of a wake of the other core and of a sync (median)."""

    call_ns: float
    wake_us: float
    sync_us: float

    def __str__(self) -> str:
        return (
            f"a system call takes {self.call_ns:.0f} ns, waking a program on the other core {self.wake_us:.0f} us, "
            f"a record's way to the disk {self.sync_us:.0f} us"
        )


def measured(program: Path, folder: Path) -> Costs:
    """With ``costs.c`` compiled, and a file in ``folder``, on the disk that journals are on."""
    command = [str(program), str(machine.SYSTEM_CORE), str(machine.LOAD_CORE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    call_ns, wake_us = map(float, done.stdout.split())
    return Costs(call_ns=call_ns, wake_us=wake_us, sync_us=_sync_us(folder))


def _sync_us(folder: Path) -> float:
    """Of a record in a file that has its place on the disk, as a journal's segment has."""
    with tempfile.TemporaryFile(dir=folder) as file:
        descriptor = file.fileno()
        os.pwrite(descriptor, bytes(len(_RECORD) * _SYNCS), 0)
        os.fsync(descriptor)
        taken = []
        for number in range(_SYNCS):
            os.pwrite(descriptor, _RECORD, number * len(_RECORD))
            began = time.perf_counter()
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6
