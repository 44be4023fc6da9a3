"""One at a time across threads and processes: a lock file that exists only while somebody holds or awaits it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock at this path, waiting for whoever has it; the kernel frees it if the process dies."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            if _is_still_there(path, number):
                break
        except BaseException:
            os.close(number)
            raise
        # Whoever had it has removed the file: this lock is on nothing, so take part in the next one.
        os.close(number)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(number)


def _is_still_there(path: Path, number: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(number))
    except FileNotFoundError:
        return False
