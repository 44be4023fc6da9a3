"""``fdatasync`` beside the event loop without a thread: Linux's asynchronous I/O, its end told by an eventfd.

A thread that has waited for the disk must have the interpreter's lock to say so, and gets it from a busy loop only at
its switch interval, five milliseconds later; and each hand-over is several futexes. Here the kernel does the waiting.
See io_submit(2), IOCB_CMD_FDSYNC (Linux 4.18 and newer) and eventfd(2).
"""

import ctypes
import os
import platform
import struct
import sys
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Final

#: io_setup, io_destroy, io_getevents, io_submit: <asm/unistd.h>.
_NUMBERS: Final = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
#: struct iocb of <linux/aio_abi.h>: data, key and flags, opcode, priority, descriptor, buf, nbytes, offset, reserved,
#: flags, eventfd.
_IOCB: Final = struct.Struct("=QIIHhIQQqQII")
#: struct io_event: data, obj, res, res2.
_EVENT: Final = struct.Struct("=QQqq")
_FDSYNC: Final = 3
_HAS_EVENTFD: Final = 1
#: A syscall's numbers are longs.
_ONE: Final = ctypes.c_long(1)

#: How it went, and how many seconds it took until the loop heard of it.
Then = Callable[[OSError | None, float], None]


class DiskSync:
    """One sync at a time. Belongs to the event loop's thread."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        """Raises OSError where the kernel has no such thing, or forbids it."""
        numbers = _NUMBERS.get(platform.machine()) if sys.platform == "linux" else None
        if numbers is None:
            raise OSError("asynchronous syncs are known on Linux alone, on x86-64 and arm64")
        setup, self._destroy, self._get_events, self._submit = numbers
        # Nothing here blocks, so the lock is kept: giving it up and taking it again would cost more than the call.
        self._call = ctypes.PyDLL(None, use_errno=True).syscall
        self._context = ctypes.c_ulong(0)
        self._check(self._call(setup, _ONE, ctypes.byref(self._context)))
        self._loop = loop
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._order = ctypes.create_string_buffer(_IOCB.size)
        self._orders = (ctypes.c_void_p * 1)(ctypes.addressof(self._order))
        self._event = ctypes.create_string_buffer(_EVENT.size)
        self._then: Then | None = None
        self._began = 0.0
        loop.add_reader(self._eventfd, self._ended)

    def begin(self, descriptor: int, then: Then) -> None:
        """Sync a file's data; ``then`` comes once. Raises OSError when it does not even begin."""
        assert self._then is None, "one at a time"
        _IOCB.pack_into(self._order, 0, 0, 0, 0, _FDSYNC, 0, descriptor, 0, 0, 0, 0, _HAS_EVENTFD, self._eventfd)
        self._began = time.monotonic()
        self._check(self._call(self._submit, self._context, _ONE, self._orders))
        self._then = then

    def close(self) -> None:
        """Wait for what is under way, and let go. Whoever waits for it hears nothing more."""
        self._then = None
        if self._eventfd >= 0:
            self._loop.remove_reader(self._eventfd)
            self._call(self._destroy, self._context)
            os.close(self._eventfd)
            self._eventfd = -1

    def _ended(self) -> None:
        os.eventfd_read(self._eventfd)
        self._check(self._call(self._get_events, self._context, _ONE, _ONE, self._event, None))
        result = _EVENT.unpack(self._event.raw)[2]
        then, self._then = self._then, None
        if then is not None:
            failure = OSError(-result, os.strerror(-result)) if result < 0 else None
            then(failure, time.monotonic() - self._began)

    def _check(self, result: int) -> None:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def configured(loop: AbstractEventLoop) -> DiskSync | None:
    """One, where it can be had; a container's rules may forbid it."""
    try:
        return DiskSync(loop)
    except OSError:
        return None
