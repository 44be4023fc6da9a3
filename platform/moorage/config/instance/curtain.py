"""A directory as it is but for some names in it, under which nothing is found whatever comes there later.

A mount on a socket does not cover it for good: dockerd removes its socket when it starts, and the kernel then takes
away what other mount namespaces have mounted on it. So the directory around it is covered, by an empty file system in
which everything else that is there stands again. What is made directly in the directory later is not seen there; what
comes and goes further down is.
"""

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
#: mount(2)
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC = 2, 4, 4096, 16384
#: A program may write directly in such a directory (/tmp).
_SIZE: Final = "64m"


def draw(paths: Iterable[Path]) -> None:
    """Show an empty file in the place of each of ``paths`` (absolute, without links) from now on, in the caller's mount
    namespace. Raises OSError; for a path directly in ``/`` too, which cannot be covered."""
    names: dict[Path, set[str]] = {}
    for path in paths:
        if path.parent == path.parent.parent:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
        names.setdefault(path.parent, set()).add(path.name)
    for directory in sorted(names):
        _draw(directory, names[directory])


def _draw(directory: Path, names: set[str]) -> None:
    found = directory.stat()
    options = f"size={_SIZE},mode={stat.S_IMODE(found.st_mode):o},uid={found.st_uid},gid={found.st_gid}"
    before = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        there = [path for path in Path(f"/proc/self/fd/{before}").iterdir() if path.name not in names]
        _mount(b"moorage", directory, kind=b"tmpfs", flags=_MS_NOSUID | _MS_NODEV, options=options.encode())
        for path in there:
            _show(path, directory / path.name)
        for name in names:
            (directory / name).touch(mode=0, exist_ok=False)
    finally:
        os.close(before)


def _show(path: Path, place: Path) -> None:
    """Let what is at ``path`` be found at ``place``. What has gone meanwhile, or cannot be mounted again, is not."""
    with contextlib.suppress(OSError):
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            place.symlink_to(path.readlink())
            return
        if stat.S_ISDIR(kind):
            place.mkdir(mode=0o700)
        else:
            place.touch(mode=0)
        _mount(os.fsencode(path), place, kind=None, flags=_MS_BIND | _MS_REC, options=None)


def _mount(source: bytes, place: Path, *, kind: bytes | None, flags: int, options: bytes | None) -> None:
    if _LIBC.mount(source, os.fsencode(place), kind, flags, options):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(place))
