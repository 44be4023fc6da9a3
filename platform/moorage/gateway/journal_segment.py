"""One journal file: space taken in advance, so that a record that was promised a place cannot meet a full disk."""

import fcntl
import os
import pathlib
from typing import Final

from moorage.wire import journal

_LOCK_SUFFIX: Final = ".lock"


def claim(directory: pathlib.Path, boot_id: str) -> int:
    """Show that ``boot_id`` is alive, for as long as the returned descriptor stays open. Raises OSError.

    The lock is taken before the name appears: a shipper that meets the file unlocked knows that the boot is dead.
    """
    directory.mkdir(parents=True, exist_ok=True)
    unnamed = directory / f"{boot_id}{_LOCK_SUFFIX}.new"
    descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    unnamed.rename(directory / f"{boot_id}{_LOCK_SUFFIX}")
    return descriptor


class Segment:
    """An open segment. Every method may raise OSError."""

    def __init__(self, *, directory: pathlib.Path, boot_id: str, number: int, size: int) -> None:
        self.path: Final = directory / f"{boot_id}-{number:06d}.journal"
        self.size: Final = size
        self.descriptor: Final = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.offset = 0
        try:
            os.posix_fallocate(self.descriptor, 0, size)
            self.write(journal.MAGIC)
        except OSError:
            # Nothing was recorded in it, and the name must be free for the next try.
            os.close(self.descriptor)
            self.path.unlink(missing_ok=True)
            raise

    @property
    def free(self) -> int:
        """Bytes left of the space that was taken."""
        return self.size - self.offset

    def write(self, content: bytes) -> None:
        """Append; a short write is carried on, a failed one leaves the offset where it was."""
        view, offset = memoryview(content), self.offset
        while view:
            written = os.pwrite(self.descriptor, view, offset)
            view, offset = view[written:], offset + written
        self.offset = offset

    def close(self) -> None:
        """Give back the descriptor and the space that was not used; what was written stays."""
        try:
            os.ftruncate(self.descriptor, self.offset)
        finally:
            os.close(self.descriptor)
