"""Prompts and answers are in this process's memory while they are needed, and in no file: not in a core dump either."""

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # <linux/prctl.h>


def forbid_core_dumps() -> None:
    """Let a crash leave nothing. Raises OSError where the kernel refuses.

    The limit alone is not enough: a kernel that pipes core dumps into a program does not look at it. A process that is
    not dumpable is not dumped either way, and others of its user can neither trace it nor read its memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"core dumps cannot be forbidden: {os.strerror(number)}")
