"""The kernel's freezer of one container, written to directly: 0.1 ms, where an Engine takes ten to think it over.

The Engine pauses a container the first time, and from then on believes it to be paused, whatever the kernel says. That
is the side to be wrong on: it stops, kills, removes and (after its own restart) adopts a container that it believes to
be paused and that runs, but waits for ever for one that it believes to run and that is frozen. So nothing is ever
frozen here that the Engine has not paused itself.

The files are found, never assumed: ``freezer.state`` of cgroup v1, ``cgroup.freeze`` of v2, of the cgroup in which the
container's first process is, and only where that cgroup bears the container's id and its file may be written. A worker
in a container of its own does not see that process: it looks where an Engine puts containers, for that same id.
"""

import dataclasses
import os
import time
from pathlib import Path
from typing import Final, Literal

_MOUNTS: Final = Path("/proc/self/mounts")
_PROCESSES: Final = Path("/proc")
#: The kernel freezes a process at its next step out of a system call.
_FREEZE_SECONDS: Final = 2.0
#: Under the mount, with cgroups of the Engine's own making and with systemd's.
_PLACES: Final = ("docker/{id}", "system.slice/docker-{id}.scope")
_PAUSE: Final = 0.0005

Version = Literal[1, 2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Freezer:
    """One container's file."""

    file: Path
    version: Version

    def thaw(self) -> bool:
        """Let every process go on. Whether it could be asked; the container may have ended meanwhile."""
        return self._write("THAWED" if self.version == 1 else "0")

    def freeze(self) -> bool:
        """Hold every process still; whether they all are."""
        if not self._write("FROZEN" if self.version == 1 else "1"):
            return False
        deadline = time.monotonic() + _FREEZE_SECONDS
        while (frozen := self.is_frozen()) is False and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return frozen is True

    def is_frozen(self) -> bool | None:
        """Whether every process is held still; None where the container has ended."""
        try:
            if self.version == 1:
                # FREEZING: some still run, and will not much longer.
                return self.file.read_text().strip() == "FROZEN"
            events = (self.file.parent / "cgroup.events").read_text()
        except OSError:
            return None
        return "frozen 1" in events.splitlines()

    def _write(self, word: str) -> bool:
        try:
            handle = os.open(self.file, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            os.write(handle, word.encode())
        except OSError:
            return False
        finally:
            os.close(handle)
        return True


def find(*, pid: int, container_id: str, processes: Path = _PROCESSES, mounts: Path = _MOUNTS) -> Freezer | None:
    """The freezer of the container whose first process is ``pid`` to the Engine; None where it is not ours to write to:
    not mounted where we are, on another machine, or read-only."""
    if pid <= 0 or len(container_id) < 12:
        return None
    try:
        table = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return None
    for controllers, path in [*_of_process(processes / str(pid), container_id), *_by_name(container_id)]:
        if "freezer" in controllers.split(","):
            found = _file(table, "cgroup", path, "freezer.state", option="freezer")
            if found is not None:
                return Freezer(file=found, version=1)
        elif controllers == "":
            found = _file(table, "cgroup2", path, "cgroup.freeze", option="")
            if found is not None:
                return Freezer(file=found, version=2)
    return None


def _of_process(process: Path, container_id: str) -> list[tuple[str, str]]:
    """Controllers and path of its cgroups, where it is the container's: to us the number may be another's."""
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        return []
    entries = [line.split(":", 2) for line in lines]
    return [(entry[1], entry[2]) for entry in entries if len(entry) == 3 and container_id in entry[2]]


def _by_name(container_id: str) -> list[tuple[str, str]]:
    return [(controllers, place.format(id=container_id)) for place in _PLACES for controllers in ("freezer", "")]


def _file(table: list[list[str]], kind: str, path: str, name: str, *, option: str) -> Path | None:
    """The file in the first mount of that kind in which it can be written."""
    for line in table:
        if len(line) >= 4 and line[2] == kind and (not option or option in line[3].split(",")):
            file = Path(line[1]) / path.lstrip("/") / name
            if os.access(file, os.W_OK):
                return file
    return None
