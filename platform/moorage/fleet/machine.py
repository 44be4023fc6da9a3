"""What this machine has for replicas: memory and CPUs as the kernel reports them, and its devices."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Final

from django.conf import settings

from moorage.fleet import nvml
from moorage.fleet.nvml import FoundDevice

GIB: Final = 1024**3
#: Kept for the platform's own processes and the page cache: a tenth, and at least one GiB.
_KEPT_BYTES: Final = GIB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """This machine, as a node offers it."""

    name: str
    memory_bytes: int
    cpu_millis: int
    devices: tuple[FoundDevice, ...]
    facts: tuple[tuple[str, str], ...]


def this_machine() -> Machine:
    """What replicas may use here. MOORAGE_NODE_MEMORY_BYTES, where set, is taken at its word."""
    limit = settings.MOORAGE_NODE_MEMORY_BYTES
    uname = os.uname()
    return Machine(
        name=name(),
        memory_bytes=limit if limit is not None else _memory_for_replicas(),
        cpu_millis=cpu_millis(),
        devices=nvml.devices(),
        facts=(("kernel", uname.release), ("machine", uname.machine)),
    )


def name() -> str:
    """The machine's name, kept in MOORAGE_HOME: a changed host name must not make a second node of one machine."""
    file: Path = settings.MOORAGE_HOME / "node-name"
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"node-name.{os.getpid()}")
    fresh.write_text(os.uname().nodename)
    try:
        # Several processes may start at once; link() lets exactly one of them choose.
        os.link(fresh, file)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return file.read_text().strip()


def cpu_millis(root: Path = Path("/")) -> int:
    """Thousandths of a CPU: those this process may run on, within its control group's quota."""
    usable = len(os.sched_getaffinity(0)) * 1000
    quota = _quota_millis(root)
    return min(usable, quota) if quota is not None else usable


def memory_bytes(root: Path = Path("/")) -> int:
    """Physical memory, within the control group's limit (version 2, else version 1)."""
    text = (root / "proc/meminfo").read_text()
    found = re.search(r"^MemTotal:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None, "MemTotal is in every /proc/meminfo"
    total = int(found[1]) * 1024
    for name in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = _first_line(root / name)
        if limit is not None and limit.isdecimal():
            total = min(total, int(limit))
    return total


def _memory_for_replicas() -> int:
    total = memory_bytes()
    return max(total - max(_KEPT_BYTES, total // 10), total // 2)


def _quota_millis(root: Path) -> int | None:
    unified = _first_line(root / "sys/fs/cgroup/cpu.max")
    if unified is not None:
        quota, _, period = unified.partition(" ")
    else:
        quota = _first_line(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us") or "-1"
        period = _first_line(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us") or "100000"
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return None
    return max(int(quota) * 1000 // int(period), 100)


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
