"""One worker at a time does something to a container's name, among all threads and processes of this machine."""

import contextlib
import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: A fixed few, shared by hash: a lock file of its own could not be removed without a race.
_LOCKS: Final = 256


@contextlib.contextmanager
def held(name: str, *, under: Path) -> Iterator[None]:
    """Holds ``name`` until the block ends, however it ends. The lock files lie in ``under/.locks``. Raises OSError."""
    locks = under / ".locks"
    locks.mkdir(parents=True, exist_ok=True, mode=0o700)
    number = zlib.crc32(name.encode()) % _LOCKS
    lock = os.open(locks / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
