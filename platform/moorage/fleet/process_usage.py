"""What a group of processes takes, from ``/proc``: memory, its peak, and CPU time."""

import os
import re
from pathlib import Path
from typing import Final

from moorage.fleet.runner_output import Usage

_KIB: Final = 1024
_SIZES: Final = re.compile(r"^(VmRSS|VmHWM):\s+([0-9]+) kB$", re.MULTILINE)


def of_group(group_id: int) -> Usage:
    """The sum over all processes of the group. A peak of a sum is at most the sum of peaks; that is what is said."""
    memory = peak = 0
    cpu = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) != group_id:
                continue
            sizes = dict(_SIZES.findall((folder / "status").read_text()))
        except (OSError, IndexError, ValueError):
            continue  # it has just ended
        memory += _KIB * int(sizes.get("VmRSS", 0))
        peak += _KIB * int(sizes.get("VmHWM", 0))
        # User and system time, and that of children which have ended (proc(5): fields 14 to 17).
        cpu += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return Usage(memory_bytes=memory or None, peak_memory_bytes=peak or None, cpu_seconds=cpu if memory else None)
