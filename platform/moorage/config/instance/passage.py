"""The runners' directory as a mount that passes on what is mounted below it later.

The provisioning worker mounts a small file system for each runner (fleet/socket_mount.py). A gateway that looks from a
mount namespace of its own (confinement.py) sees such a mount only below one that is shared (mount_namespaces(7)).
systemd makes every mount of a machine so; elsewhere the supervisor binds the directory onto itself and shares that,
before the first program that has to see runners is started, and takes it away at the end.
"""

import ctypes
import dataclasses
import os
import re
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
#: mount(2)
_MS_BIND, _MS_REC, _MS_SHARED = 4096, 16384, 1 << 20
_MOUNTINFO: Final = Path("/proc/self/mountinfo")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is mounted around a directory."""

    #: What is mounted below it later is seen in mount namespaces made before.
    is_shared: bool
    #: It is bound onto itself.
    is_own: bool
    #: Where something is mounted below it, while it is no mount itself.
    below: tuple[Path, ...]


def look(directory: Path, *, mountinfo: str) -> Found:
    """Read ``mountinfo`` (proc(5)) for ``directory``, an absolute path without links. Pure."""
    # Number, parent's number, device, what of it is mounted, where, options, "shared:N" and such, "-", …
    mounts = [[_plain(word) for word in line.partition(" - ")[0].split()] for line in mountinfo.splitlines()]
    by_point = {Path(mount[4]): mount for mount in mounts}  # Of several at one place, the last is on top.
    point = next((path for path in (directory, *directory.parents) if path in by_point), None)
    if point is None:
        return Found(is_shared=False, is_own=False, below=())
    around = by_point[point]
    parent = next((mount for mount in mounts if mount[0] == around[1]), None)
    is_own = (
        point == directory
        and parent is not None
        and around[2] == parent[2]
        and Path(around[3]) == Path(parent[3]) / directory.relative_to(parent[4])
    )
    below = () if point == directory else tuple(path for path in by_point if directory in path.parents)
    return Found(is_shared=any(word.startswith("shared:") for word in around[6:]), is_own=is_own, below=below)


def passes_mounts_on(directory: Path) -> bool:
    """Whether what is mounted below ``directory`` later is seen in mount namespaces made before."""
    return look(directory.resolve(), mountinfo=_MOUNTINFO.read_text()).is_shared


def open_up(directory: Path) -> str:
    """Let ``directory`` pass on what is mounted below it later. Idempotent. A sentence where the kernel refuses, else
    nothing."""
    directory = directory.resolve()
    found = look(directory, mountinfo=_MOUNTINFO.read_text())
    if found.is_shared:
        return ""
    is_bound = found.is_own or _bind(directory, found.below)
    if is_bound and _LIBC.mount(b"none", os.fsencode(directory), None, _MS_SHARED, None) == 0:
        return ""
    return (
        f"{directory} cannot be made a mount that passes others on ({os.strerror(ctypes.get_errno())}): a gateway that"
        " is root therefore keeps the machine's view, the Engine's socket included"
    )


def close(directory: Path) -> str:
    """Take away what :func:`open_up` mounted. Idempotent. A sentence where something is still mounted below, which
    then stays in sight, else nothing."""
    directory = directory.resolve()
    if not look(directory, mountinfo=_MOUNTINFO.read_text()).is_own:
        return ""
    if _LIBC.umount2(os.fsencode(directory), 0) == 0:
        return ""
    return f"{directory} stays a mount of its own ({os.strerror(ctypes.get_errno())}); the next start goes on with it"


def _bind(directory: Path, below: tuple[Path, ...]) -> bool:
    """Bind ``directory`` onto itself, with what is mounted ``below``. False where the kernel refuses."""
    name = os.fsencode(directory)
    covered = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        if _LIBC.mount(name, name, None, _MS_BIND | _MS_REC, None):
            return False
        for point in below:  # It is mounted twice now: above, and where only this descriptor still leads.
            hidden = f"/proc/self/fd/{covered}/{point.relative_to(directory)}"
            _LIBC.umount2(os.fsencode(hidden), 0)
        return True
    finally:
        os.close(covered)


def _plain(word: str) -> str:
    """A word of mountinfo with its escapes (``\\040`` is a space) undone."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)
