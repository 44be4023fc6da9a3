"""A small file system of its own for each socket directory, so that the one place where a runner may write ends
somewhere.

The directory is on the host: without this a runner could fill the host's disk through it, or put a symbolic link where
its socket should be and have the gateway knock at another tenant's door. The mount holds a few dozen names and 64 KiB,
runs nothing, and the kernel follows no link in it (MS_NOSYMFOLLOW, Linux 5.10).

Only root may mount, and it is of use only where the container Engine sees the same mounts. A worker in a container of
its own uses the plain directory, and the isolation that is read back says so.
"""

import ctypes
import os
import socket
import struct
from pathlib import Path
from typing import Final

SIZE_BYTES: Final = 64 * 1024
NAMES: Final = 64
#: mount(2)
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_NOATIME, _MS_NOSYMFOLLOW = 2, 4, 8, 1024, 256
_FLAGS: Final = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | _MS_NOATIME
_MNT_DETACH: Final = 2
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
#: struct ucred of unix(7): pid, uid, gid.
_UCRED: Final = struct.Struct("iII")


def is_seen_by(engine: Path) -> bool:
    """Whether what we mount is seen by the Engine that listens on the Unix socket ``engine``: the kernel tells its
    process, and that one is in our mount namespace. False where we are not root or cannot know."""
    if os.geteuid() != 0:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(2)
        try:
            connection.connect(str(engine))
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            pid, _, _ = _UCRED.unpack(peer)  # 0: a process that is not in our pid namespace.
            return Path(f"/proc/{pid}/ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
        except OSError:
            return False


def mount(directory: Path, *, uid: int, gid: int, mode: int) -> bool:
    """Mount an empty file system on ``directory``, which ``uid`` and ``gid`` own. Idempotent. False where we may
    not."""
    if is_mounted(directory):
        return True
    options = f"size={SIZE_BYTES},nr_inodes={NAMES},uid={uid},gid={gid},mode={mode:o}"
    for flags in (_FLAGS | _MS_NOSYMFOLLOW, _FLAGS):  # An older kernel knows no such flag.
        if _LIBC.mount(b"moorage", os.fsencode(directory), b"tmpfs", flags, options.encode()) == 0:
            return True
    return False


def unmount(directory: Path) -> None:
    """Take it away, with what is in it, also while somebody has it open. Idempotent."""
    if is_mounted(directory):
        _LIBC.umount2(os.fsencode(directory), _MNT_DETACH)


def is_mounted(directory: Path) -> bool:
    """Whether a file system begins at ``directory``."""
    try:
        return os.lstat(directory).st_dev != os.lstat(directory.parent).st_dev
    except FileNotFoundError:
        return False
