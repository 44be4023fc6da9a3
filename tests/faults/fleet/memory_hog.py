"""Makes the kernel end a container's process for want of memory, as a real out-of-memory does."""

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Final

#: Joins the control group, then touches page after page until there are none.
_HOG: Final = """
import sys
from pathlib import Path
Path(sys.argv[1], "cgroup.procs").write_text("0")
kept = []
while True:
    kept.append(b"x" * (1 << 20))
"""


def exhaust(pid: int) -> None:
    """Uses up the memory of the container whose process ``pid`` is, which the kernel will choose to end."""
    for process in _everybody(pid):
        # Somebody else is bigger: the choice is made for the kernel.
        Path(f"/proc/{process}/oom_score_adj").write_text("1000")
    hog = subprocess.Popen([sys.executable, "-c", _HOG, str(_memory_group(pid))], stderr=subprocess.DEVNULL)
    try:
        _until_gone(pid)
    finally:
        hog.kill()
        hog.wait(30)


def _everybody(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in _everybody(int(child)))]


def _memory_group(pid: int) -> Path:
    unified = Path("/sys/fs/cgroup")
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path(f"/sys/fs/cgroup/memory{path}")
        if not controllers:
            unified = Path(f"/sys/fs/cgroup{path}")
    return unified


def _until_gone(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        assert select.select([descriptor], [], [], 30)[0], "the kernel has ended nobody"
    finally:
        os.close(descriptor)
