"""Processes that have no business with the container Engine do not find its socket, also where they run as root.

A process that is root opens every socket. Where the supervisor is root it therefore starts each process but the
provisioning worker in a mount namespace in which the Engine's socket is covered, without supplementary groups, and
without the capabilities that would let it uncover the socket or look into a process that sees it. A gateway has to
see the runners' socket directories, which are mounted later: where the machine does not pass such mounts on (no
"shared" in /proc/self/mountinfo), its view stays the machine's, and what keeps it from the Engine is that it has no
code to ask it. A user id of its own for each process is the better wall: the units in deploy/systemd have it.
"""

import ctypes
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS: Final = 0x20000
#: mount(2)
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 16384, 1 << 19
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
#: capability(7): those that mount, trace, load modules, open files past the root, reach devices or the memory of
#: others.
_DROPPED: Final = (2, 16, 17, 18, 19, 21, 22, 27, 32, 38, 39, 40)
_CAPABILITY_VERSION_3: Final = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def engine_sockets(variables: Mapping[str, str]) -> tuple[Path, ...]:
    """Unix sockets of container Engines on this machine: the one that is used, and the usual ones. Those that are
    there."""
    named = urlsplit(variables.get("DOCKER_HOST", ""))
    paths = [named.path] if named.scheme == "unix" else []
    paths += ["/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"]
    found = {Path(path).resolve() for path in paths}
    return tuple(sorted(path for path in found if path.exists()))


def passes_mounts_on(directory: Path) -> bool:
    """Whether what is mounted below ``directory`` later is seen in mount namespaces made before (mountinfo,
    proc(5))."""
    mounts = {line.split()[4]: line for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    around = next((mounts[str(path)] for path in (directory, *directory.parents) if str(path) in mounts), "")
    return " shared:" in around.partition(" - ")[0]


def confine(sockets: tuple[Path, ...]) -> Callable[[], None] | None:
    """What a child has to do before it becomes its program; None where we are not root, and so have nothing to give
    up."""
    if os.geteuid() != 0:
        return None
    covered = [os.fsencode(path) for path in sockets]

    def before_exec() -> None:
        os.setgroups([])
        if covered:
            if _LIBC.unshare(_CLONE_NEWNS) or _LIBC.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None):
                raise OSError(ctypes.get_errno(), "the process could not be given a view of its own")
            for path in covered:
                if _LIBC.mount(b"/dev/null", path, None, _MS_BIND, None):
                    raise OSError(ctypes.get_errno(), "the Engine's socket could not be covered")
        _drop()
        _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

    return before_exec


def _drop() -> None:
    """Give capabilities up for good: root gets those of the bounding set back at the next exec, so that comes first."""
    for capability in _DROPPED:
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    if _LIBC.capget(ctypes.byref(header), sets):
        return
    for capability in _DROPPED:
        half, bit = divmod(capability, 32)
        for name in ("effective", "permitted", "inheritable"):
            setattr(sets[half], name, getattr(sets[half], name) & ~(1 << bit))
    _LIBC.capset(ctypes.byref(header), sets)
