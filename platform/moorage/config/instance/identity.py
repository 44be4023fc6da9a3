"""Which process is meant: a pid together with the moment it began, so that a reused number is never mistaken for it."""

import dataclasses
import os
import signal
import time
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A process of this boot of this machine."""

    pid: int
    #: Clock ticks after boot at which it began (field 22 of /proc/PID/stat, proc(5)).
    started: int

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The process that has ``pid`` now; None if there is none, or it has ended and only waits to be reaped."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The second field is the command in parentheses and may itself hold any character.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(pid=pid, started=int(fields[19]))

    @classmethod
    def read(cls, path: Path) -> "Identity | None":
        """The process noted in ``path``, if it is still running."""
        try:
            pid, started = path.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        noted = cls(pid=int(pid), started=int(started))
        return noted if noted.is_alive() else None

    def write(self, path: Path) -> None:
        """Note this process in ``path``."""
        path.write_text(f"{self.pid} {self.started}\n")

    def is_alive(self) -> bool:
        """Whether this very process is still running."""
        return Identity.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, if it is still there."""
        if self.is_alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def end(self, *, first: signal.Signals = signal.SIGTERM, seconds: float) -> bool:
        """Ask it to end, insist after ``seconds``, and say whether it went when asked."""
        self.send(first)
        if self._is_gone_within(seconds):
            return True
        self.send(signal.SIGKILL)
        self._is_gone_within(10)
        return False

    def _is_gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True
