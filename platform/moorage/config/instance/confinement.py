"""Processes that have no business with the container Engine do not find its socket, also where they run as root.

A process that is root opens every socket. Where the supervisor is root it therefore starts each process but the
provisioning worker in a mount namespace in which the Engine's socket is not found, also after the Engine has started
again (curtain.py), without supplementary groups, and without the capabilities that would let it uncover the socket or
look into a process that sees it. A gateway has to see the runners' socket directories, which are mounted later:
passage.py sees to it that they reach its view. Only where the kernel refuses that its view stays the machine's, and
what keeps it from the Engine is that it has no code to ask it; the log says so. A user id of its own for each process
is the better wall: the units in deploy/systemd have it.
"""

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from moorage.config.instance import curtain, passage
from moorage.config.instance.processes import Program

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS: Final = 0x20000
#: mount(2)
_MS_REC, _MS_SLAVE = 16384, 1 << 19
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
    """Unix sockets of container Engines on this machine: the one that is used, also while its Engine is down, and of
    the usual ones those that are there."""
    usual = ["/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"]
    usual += ["/run/docker/containerd/containerd.sock"]  # Of a dockerd that starts its own.
    found = {path.resolve() for path in map(Path, usual) if path.exists()}
    named = urlsplit(variables.get("DOCKER_HOST", ""))
    if named.scheme == "unix" and (path := Path(named.path).resolve()).parent.is_dir():
        found.add(path)
    return tuple(sorted(found))


def runners_of(programs: Sequence[Program], variables: Mapping[str, str]) -> Path | None:
    """The runners' directory, where one of ``programs`` has to see into it."""
    named = variables.get("MOORAGE_SOCKET_DIR")
    return Path(named) if named and any(program.sees_runners for program in programs) else None


def let_see(runners: Path, variables: Mapping[str, str]) -> str:
    """See to it that what is mounted in ``runners`` later is seen by who is confined now. A sentence where that cannot
    be, else nothing."""
    return passage.open_up(runners) if os.geteuid() == 0 and engine_sockets(variables) else ""


def of(program: Program, variables: Mapping[str, str]) -> Callable[[], None] | None:
    """What a child has to do before it becomes ``program``; None where there is nothing to give up."""
    if not program.is_confined:
        return None
    runners = runners_of((program,), variables)
    would_miss_runners = runners is not None and not passage.passes_mounts_on(runners)
    return confine(() if would_miss_runners else engine_sockets(variables))


def refusal(program: Program) -> str:
    """For a person, where ``program`` cannot be confined and so is not started."""
    return (
        f"{program.name} cannot be kept from the container Engine's socket, which takes root's right to mount and a"
        " socket that is not directly in /. Start Moorage as another user, or where no Engine's socket is in sight."
    )


def confine(sockets: tuple[Path, ...]) -> Callable[[], None] | None:
    """What a child has to do before it becomes its program; None where we are not root, and so have nothing to give
    up."""
    if os.geteuid() != 0:
        return None

    def before_exec() -> None:
        os.setgroups([])
        if sockets:
            if _LIBC.unshare(_CLONE_NEWNS) or _LIBC.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None):
                raise OSError(ctypes.get_errno(), "the process could not be given a view of its own")
            curtain.draw(sockets)
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
