"""The socket of an engine, and nothing that its runner may have put in its place.

A runner owns the directory that its socket is in. A symbolic link there could lead to the socket of another tenant's
engine, or to any other that this process may open.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator


@contextlib.contextmanager
def opened(socket: str) -> Iterator[str]:
    """A path that leads to the socket of that name, whatever becomes of the name. Raises OSError; ENOTSOCK where it is
    none, or a link.

    Linux has no flag for a connect(2) that follows no link, but opens the name itself with O_PATH | O_NOFOLLOW
    (open(2)), and leads there by /proc/self/fd.
    """
    descriptor = os.open(socket, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), socket)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
