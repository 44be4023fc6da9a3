"""The record of a runner that is a local process, and the process it speaks of.

``spec.json`` says what was asked for, ``state.json`` what became of it (written by :mod:`moorage.fleet.process_shim`).
A process is known by its id *and* its start time, because ids return.
"""

import contextlib
import datetime as dt
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from moorage.fleet import process_shim
from moorage.fleet.errors import RuntimeFailed, RuntimeUnreachable
from moorage.fleet.runtime import Container, Status

LOOK_SECONDS: Final = 0.02


def container(name: str, record: dict[str, Any], state: dict[str, Any] | None) -> Container:
    """What the record and the kernel say of a runner."""
    return Container(
        name=name,
        replica_id=record["replica_id"],
        epoch=record["epoch"],
        spec_hash=record["spec_hash"],
        status="created" if state is None else status(state),
        exit_code=(state or {}).get("exit_code"),
        started_at=_moment((state or {}).get("started_at")),
        finished_at=_moment((state or {}).get("finished_at")),
        labels=tuple(sorted(record["labels"].items())),
        image=record["argv"][0],
    )


def status(state: dict[str, Any]) -> Status:
    """From the kernel's view of the runner. One whose witness is about to write its exit code still runs."""
    letter = _letter(state["pid"], state["pid_token"])
    if letter is not None:
        return "paused" if letter in "tT" else "running"
    has_witness = "exit_code" not in state and _letter(state["shim_pid"], state["shim_token"]) is not None
    return "running" if has_witness else "exited"


def _letter(pid: int, token: str) -> str | None:
    """The state letter of a live process, None if it is gone, a zombie, or another one by now."""
    if process_shim.start_token(pid) != token:
        return None
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
    return None if letter in "ZX" else letter


def end(state: dict[str, Any], grace_seconds: float) -> None:
    """SIGTERM, then SIGKILL, to the runner's whole group; return when runner and witness are gone."""
    deadline = time.monotonic() + grace_seconds
    if _letter(state["pid"], state["pid_token"]) is not None:
        for number in (signal.SIGTERM, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(state["pid"], number)
    while _letter(state["pid"], state["pid_token"]) is not None and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    for pid, token in ((state["pid"], state["pid_token"]), (state["shim_pid"], state["shim_token"])):
        is_runner = pid == state["pid"]
        killed = time.monotonic() + 10
        # The witness ends by itself, a moment after the runner.
        patience = time.monotonic() + (0 if is_runner else 2)
        while _letter(pid, token) is not None:
            if time.monotonic() >= patience:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            if time.monotonic() > killed:
                raise RuntimeFailed(f"Process {pid} does not end, even killed.")
            time.sleep(LOOK_SECONDS)


def home(socket_dir: Path) -> Path:
    """Where a runner may write."""
    return socket_dir / "home"


def _moment(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, tz=dt.UTC)


def read(file: Path) -> dict[str, Any] | None:
    """A document of the record; None where there is none."""
    try:
        document: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    return document


def write(file: Path, document: dict[str, Any]) -> None:
    """Writes a document whole or not at all, for its owner alone."""
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(document))
    fresh.replace(file)


@contextlib.contextmanager
def reaching() -> Iterator[None]:
    """Records that cannot be read are not records that are not there."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise RuntimeUnreachable(f"The records of local processes cannot be read: {error}.") from error
