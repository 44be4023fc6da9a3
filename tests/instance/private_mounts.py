"""Mounts that the machine never sees: a piece of a test in a child with a mount namespace of its own."""

import ctypes
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS: Final = 0x20000
#: mount(2)
_MS_REC, _MS_PRIVATE, _MS_SHARED = 16384, 1 << 18, 1 << 20


def alone(act: Callable[[], object], *, machine: Literal["private", "shared"] = "private") -> Any:
    """What ``act`` returns (as JSON), called where all mounts are ``machine`` and end with the call."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        status = 1
        try:
            _leave_the_machine(machine)
            os.write(writes, json.dumps(act()).encode())
            status = 0
        finally:
            if status:
                traceback.print_exc()
            os._exit(status)
    os.close(writes)
    with os.fdopen(reads) as answer:
        said = answer.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return json.loads(said)


def _leave_the_machine(machine: Literal["private", "shared"]) -> None:
    if _LIBC.unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no mount namespace")
    for flag in (_MS_PRIVATE, _MS_SHARED if machine == "shared" else _MS_PRIVATE):  # Out of the machine's groups first.
        if _LIBC.mount(b"none", b"/", None, _MS_REC | flag, None):
            raise OSError(ctypes.get_errno(), "the mounts stay the machine's")


def points(below: Path) -> list[str]:
    """Where something is mounted at or below ``below``, in the order of mounting."""
    found = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in found if Path(point).is_relative_to(below)]
