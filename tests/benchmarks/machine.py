"""Where programs run: one core for the system under test, another for everything else, and how to start them there."""

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.programs import BenchFailed

#: `MOORAGE_BENCH_CORES=2,3` names two that share a cache and are not threads of one core.
_CORES: Final = [int(core) for core in os.environ.get("MOORAGE_BENCH_CORES", "").split(",") if core] or sorted(
    os.sched_getaffinity(0)
)
SYSTEM_CORE: Final = _CORES[0]
LOAD_CORE: Final = _CORES[-1]


#: Asks the kernel to end a child when its parent has died.
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


def pinned(core: int) -> Callable[[], None]:
    """For ``preexec_fn``: the child, and all of its children, on ``core`` alone, and never longer than the bench."""

    def pin() -> None:
        os.sched_setaffinity(0, {core})
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return pin


def tree(pid: int) -> list[int]:
    """``pid`` and all its descendants that live now."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*"):
            with contextlib.suppress(OSError):
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found


@contextlib.contextmanager
def program(
    command: Sequence[str],
    *,
    core: int,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program on ``core`` while the block runs; what it prints goes to ``log``."""
    with log.open("ab") as written:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            cwd=directory,
            preexec_fn=pinned(core),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    family = tree(process.pid)
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(15)
    for pid in family[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def first_line(log: Path, process: subprocess.Popen[bytes], beginning: str) -> str | None:
    """The first line of ``log`` that starts with ``beginning``, None while there is none.

    Raises BenchFailed when the process ended without it.
    """
    text = log.read_text(errors="replace")
    for line in text.splitlines():
        if line.startswith(beginning):
            return line
    if process.poll() is not None:
        raise BenchFailed(f"{process.args!r} ended with {process.returncode}:\n{text[-2000:]}")
    return None
