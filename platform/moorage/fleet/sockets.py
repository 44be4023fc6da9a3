"""Where a replica's Unix socket lives: one directory a container, the only door between gateway and runner.

``<MOORAGE_SOCKET_DIR>/<replica id>-<epoch>/engine.sock``. Each life of a replica has a directory of its own, so that
a socket left by the last one can never be taken for the next one's.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from moorage.fleet import socket_mount

#: The socket's name in its directory. llama-server listens on a Unix socket only if the name ends in ``.sock``.
SOCKET_NAME: Final = "engine.sock"
#: Linux' ``sun_path`` holds 108 bytes with the final zero.
MAX_PATH_BYTES: Final = 107


def directory(root: Path, *, replica_id: str, epoch: int) -> Path:
    """The directory of one life of a replica. Pure; says nothing about its being there."""
    return root / f"{replica_id}-{epoch}"


def directory_of(root: Path, container_name: str) -> Path:
    """The directory of the container of that name, for when nobody is left to ask. Pure."""
    _, _, replica_id, epoch = container_name.split("-")
    return root / f"{replica_id}-{epoch}"


def path(socket_dir: Path) -> Path:
    """The socket in ``socket_dir``, as the gateway opens it. ValueError where the path is too long for a socket."""
    socket = socket_dir / SOCKET_NAME
    if len(os.fsencode(socket)) > MAX_PATH_BYTES:
        raise ValueError(
            f"{socket} is longer than the {MAX_PATH_BYTES} bytes a socket may have; shorten MOORAGE_SOCKET_DIR"
        )
    return socket


@contextlib.contextmanager
def opened(socket: Path) -> Iterator[str]:
    """A path that leads to the socket of that name, and nowhere else: a symbolic link that a runner left there could
    lead to another tenant's engine. Raises OSError; ENOTSOCK for a link. The gateway's ``engine_address`` is alike."""
    descriptor = os.open(socket, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), str(socket))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def prepare(socket_dir: Path, *, uid: int | None, is_bounded: bool = False, is_emptied: bool = True) -> None:
    """Make ``socket_dir`` (mode 0700) and empty it of an old socket, unless not ``is_emptied``; owned by ``uid``, where
    that is given, and ``is_bounded`` then by a small file system of its own (:mod:`moorage.fleet.socket_mount`)."""
    path(socket_dir)
    socket_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if uid is not None:
        os.chown(socket_dir, uid, uid, follow_symlinks=False)
        if is_bounded:
            socket_mount.mount(socket_dir, uid=uid, gid=uid, mode=0o700)
    if is_emptied:
        (socket_dir / SOCKET_NAME).unlink(missing_ok=True)


def discard(socket_dir: Path) -> None:
    """Remove ``socket_dir`` and what is in it. Idempotent. ``rmtree`` follows no symlink that a runner left there."""
    socket_mount.unmount(socket_dir)
    shutil.rmtree(socket_dir, ignore_errors=True)
