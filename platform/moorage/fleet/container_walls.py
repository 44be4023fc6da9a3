"""What stands around one container: Docker's answer about it and the kernel's, wall by wall."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from moorage.fleet import profile, seccomp
from moorage.fleet.engine_host import EngineHost
from moorage.fleet.isolation import Isolation, Wall

#: Runtimes that put a kernel of their own between a runner and the machine's.
_SANDBOXES: Final = frozenset({"runsc", "kata", "kata-runtime", "io.containerd.kata.v2", "io.containerd.runsc.v1"})
_STATUS: Final = re.compile(r"^(CapEff|NoNewPrivs|Seccomp|Uid):\s+(\S+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelView:
    """What the kernel says of a runner's first process (``/proc/<pid>/status``); empty where it cannot be seen."""

    capabilities: str = ""
    no_new_privileges: str = ""
    seccomp: str = ""
    uid: str = ""
    #: Type and options of the file system that the runner has at its socket directory.
    socket_mount: str = ""

    @classmethod
    def of(cls, pid: int, container_id: str) -> "KernelView":
        """That of process ``pid`` of this machine, if it belongs to the container."""
        root = Path(f"/proc/{pid}")
        try:
            if not pid or container_id not in (root / "cgroup").read_text() + (root / "mountinfo").read_text():
                return cls()
            found = dict(_STATUS.findall((root / "status").read_text()))
            mounts = (root / "mountinfo").read_text().splitlines()
        except OSError:
            return cls()
        return cls(
            capabilities=found.get("CapEff", ""),
            no_new_privileges=found.get("NoNewPrivs", ""),
            seccomp=found.get("Seccomp", ""),
            uid=found.get("Uid", ""),
            socket_mount=next((_mount(line) for line in mounts if line.split()[4] == profile.SOCKET_DIR), ""),
        )


def of_container(inspected: Mapping[str, Any], *, host: EngineHost, kernel: KernelView) -> Isolation:
    """What ``inspected`` (``GET /containers/{id}/json``) got. Where the kernel could be asked, its word is taken."""
    settings: Mapping[str, Any] = inspected["HostConfig"]
    name = str(settings.get("Runtime") or "runc")
    return Isolation(
        runtime="docker",
        level="sandbox" if name in _SANDBOXES else "container",
        container_runtime=name,
        walls=(
            _network(inspected),
            _system_calls(settings, host=host, kernel=kernel),
            _capabilities(settings, kernel=kernel),
            _privileges(settings, kernel=kernel),
            _user(inspected, host=host),
            _root(settings),
            _mounts(inspected),
            _socket(kernel),
            _processes(settings),
            _memory(settings),
            _apparmor(inspected, host=host),
            _devices(settings),
        ),
        host=host.document(),
    )


def _network(inspected: Mapping[str, Any]) -> Wall:
    mode = str(inspected["HostConfig"].get("NetworkMode"))
    return Wall(code="network", name="Network", found=mode, holds=mode == "none")


def _system_calls(settings: Mapping[str, Any], *, host: EngineHost, kernel: KernelView) -> Wall:
    if settings.get("Runtime") in _SANDBOXES:
        return Wall(code="system_calls", name="System calls", found="answered by a kernel of its own", holds=True)
    options = settings.get("SecurityOpt") or []
    is_ours = f"seccomp={seccomp.TEXT}" in options
    is_on = kernel.seccomp == "2" if kernel.seccomp else host.has_seccomp
    which = f"the platform's list {seccomp.DIGEST}" if is_ours else "the Engine's default list"
    found = which if is_on else "none are refused"
    return Wall(code="system_calls", name="System calls", found=found, holds=is_on and is_ours)


def _capabilities(settings: Mapping[str, Any], *, kernel: KernelView) -> Wall:
    if kernel.capabilities:
        held = int(kernel.capabilities, 16)
        return Wall(code="capabilities", name="Capabilities", found=f"{held:#x}" if held else "none", holds=held == 0)
    is_bare = settings.get("CapDrop") == ["ALL"] and not settings.get("CapAdd")
    found = "none" if is_bare else f"added {settings.get('CapAdd')}"
    return Wall(code="capabilities", name="Capabilities", found=found, holds=is_bare)


def _privileges(settings: Mapping[str, Any], *, kernel: KernelView) -> Wall:
    is_held = kernel.no_new_privileges == "1" if kernel.no_new_privileges else _has_no_new_privileges(settings)
    found = "cannot grow" if is_held else "can grow"
    return Wall(code="privileges", name="Privileges", found=found, holds=is_held and not settings.get("Privileged"))


def _has_no_new_privileges(settings: Mapping[str, Any]) -> bool:
    return any(option.startswith("no-new-privileges") for option in settings.get("SecurityOpt") or [])


def _user(inspected: Mapping[str, Any], *, host: EngineHost) -> Wall:
    user = str(inspected["Config"].get("User") or "0").partition(":")[0]
    mapped = ", mapped to another on the machine" if host.has_user_namespaces or host.is_rootless else ""
    return Wall(code="user", name="User", found=f"{user}{mapped}", holds=user not in {"0", "root", ""})


def _root(settings: Mapping[str, Any]) -> Wall:
    is_readonly = bool(settings.get("ReadonlyRootfs"))
    return Wall(
        code="root", name="Its root file system", found="read-only" if is_readonly else "writable", holds=is_readonly
    )


def _mounts(inspected: Mapping[str, Any]) -> Wall:
    seen = {mount["Destination"]: bool(mount["RW"]) for mount in inspected["Mounts"]}
    found = ", ".join(f"{target} ({'writable' if seen[target] else 'read-only'})" for target in sorted(seen))
    wanted = {profile.MODEL_DIR: False, profile.SOCKET_DIR: True}
    return Wall(code="files", name="Files of the machine", found=found or "none", holds=seen == wanted)


def _socket(kernel: KernelView) -> Wall:
    kind, _, options = kernel.socket_mount.partition(" ")
    is_bounded = kind == "tmpfs" and "size=" in options
    unseen = "cannot be seen from the worker" if not kernel.socket_mount else "on the machine's own disk"
    size = re.search(r"size=\w+", options)
    return Wall(
        code="socket_directory",
        name="Socket directory",
        found=f"memory of its own, {size[0]}" if is_bounded and size else unseen,
        holds=is_bounded if kernel.socket_mount else None,
    )


def _processes(settings: Mapping[str, Any]) -> Wall:
    limit = settings.get("PidsLimit") or 0
    return Wall(code="processes", name="Processes", found=f"at most {limit}" if limit > 0 else "any", holds=limit > 0)


def _memory(settings: Mapping[str, Any]) -> Wall:
    memory, swap = settings.get("Memory") or 0, settings.get("MemorySwap")
    found = f"{memory} bytes{', swap included' if swap == memory else ''}" if memory else "any"
    return Wall(code="memory", name="Memory", found=found, holds=memory > 0)


def _apparmor(inspected: Mapping[str, Any], *, host: EngineHost) -> Wall:
    name = str(inspected.get("AppArmorProfile") or "")
    if not host.has_apparmor:
        return Wall(code="apparmor", name="AppArmor", found="this machine's kernel has none", holds=None)
    return Wall(code="apparmor", name="AppArmor", found=name or "none", holds=name not in {"", "unconfined"})


def _devices(settings: Mapping[str, Any]) -> Wall:
    given = [device for request in settings.get("DeviceRequests") or [] for device in request.get("DeviceIDs") or []]
    is_exact = not settings.get("Devices") and all(
        request.get("DeviceIDs") for request in settings.get("DeviceRequests") or []
    )
    return Wall(code="devices", name="Devices", found=", ".join(given) or "none", holds=is_exact)


def _mount(line: str) -> str:
    """``tmpfs rw,size=64k`` of a line of mountinfo (proc(5)): the type, then the options of mount and file system."""
    fields = line.split()
    end = fields.index("-")
    return f"{fields[end + 1]} {fields[5]},{fields[end + 3]}"
