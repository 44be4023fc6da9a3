"""The container profile: what Docker is asked for, and the comparison of what it made with that.

Pure. ``expected`` describes a hardened container in the Engine's own words (``GET /containers/{id}/json``);
``differences`` reads such an answer against it, member by member. Whoever loosens the profile, in code or in a daemon's
defaults, is told by name which lock is open.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from moorage.fleet import seccomp
from moorage.fleet.engines import Engine
from moorage.fleet.runtime import ContainerSpec

Document = dict[str, Any]

MODEL_DIR: Final = "/model"
SOCKET_DIR: Final = "/run/moorage"
HOME: Final = "/home/runner"

MIB: Final = 1024**2
_LOG: Final = {"Type": "local", "Config": {"max-size": "10m", "max-file": "3"}}
#: Far above the ids of people, services and of systemd's dynamic users.
_FIRST_UID: Final = 1_000_000_000
_UIDS: Final = 1_000_000_000
#: What a container must not see of the kernel, and what it must not write to. Asked for by name, so that no release of
#: the Engine has a shorter list than this.
_MASKED: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
_READONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
#: Docker's own AppArmor profile, asked for by name wherever the kernel has AppArmor.
_APPARMOR: Final = "docker-default"
#: How much of a value is told: a seccomp profile has thousands of characters.
_TOLD: Final = 120
#: Host settings that must be as empty as Docker leaves them.
_EMPTY: Final = (
    "Annotations",
    "AutoRemove",
    "Binds",
    "CapAdd",
    "Cgroup",
    "CgroupParent",
    "ContainerIDFile",
    "DeviceCgroupRules",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "OomKillDisable",
    "OomScoreAdj",
    "PidMode",
    "PortBindings",
    "Privileged",
    "PublishAllPorts",
    "StorageOpt",
    "Sysctls",
    "UTSMode",
    "UsernsMode",
    "VolumeDriver",
    "VolumesFrom",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What this Docker Engine and its kernel can do, where that differs between them."""

    has_swap_limit: bool = True
    has_private_cgroup: bool = True
    seccomp: str = "default"  #: the profile's name; empty where the kernel has none
    has_apparmor: bool = False
    runtimes: frozenset[str] = frozenset({"runc"})  #: what it can start containers with


def uid_of(replica_id: str) -> int:
    """The user id of a replica's runner: its own, and the same each time."""
    digest = hashlib.sha256(replica_id.encode()).digest()
    return _FIRST_UID + int.from_bytes(digest[:8], "big") % _UIDS


def expected(spec: ContainerSpec, *, uid: int, facts: EngineFacts) -> Document:
    """What the Engine must say about a container of ``spec`` that runs as ``uid``."""
    host: Document = {
        "NetworkMode": "none",
        "IpcMode": "private",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": _security_options(facts),
        "MaskedPaths": list(_MASKED),
        "ReadonlyPaths": list(_READONLY),
        "Runtime": spec.container_runtime,
        "Memory": spec.memory_bytes,
        "MemorySwap": spec.memory_bytes if facts.has_swap_limit else -1,
        "NanoCpus": spec.cpu_millis * 1_000_000,
        "PidsLimit": spec.pids_limit,
        "ShmSize": _shm_bytes(spec),
        "Tmpfs": _tmpfs(spec, uid=uid),
        "Ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": 4096, "Hard": 4096},
        ],
        "Init": True,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": _LOG,
        "DeviceRequests": _device_requests(spec),
    }
    if facts.has_private_cgroup:
        host["CgroupnsMode"] = "private"
    return {
        "AppArmorProfile": _APPARMOR if facts.has_apparmor else "",
        "Config": {
            "User": f"{uid}:{uid}",
            "Entrypoint": [spec.argv[0]],
            "Cmd": list(spec.argv[1:]),
            "Env": sorted(f"{name}={value}" for name, value in spec.environment),
            "WorkingDir": HOME,
            "Hostname": "runner",
            "StopSignal": "SIGTERM",
            "Tty": False,
            "OpenStdin": False,
            "Healthcheck": {"Test": ["NONE"]},
            # As NetworkMode says; but so the kernel's empty namespace is all there is. An Engine that is to manage even
            # "none" runs a program of its own inside each start, which takes longer than the rest of it.
            "NetworkDisabled": True,
        },
        "HostConfig": host,
        "Mounts": [
            {
                "Type": "bind",
                "Source": str(spec.model_dir),
                "Destination": MODEL_DIR,
                "RW": False,
                "Propagation": "rprivate",
            },
            {
                "Type": "bind",
                "Source": str(spec.socket_dir),
                "Destination": SOCKET_DIR,
                "RW": True,
                "Propagation": "rprivate",
            },
        ],
    }


def create_body(wanted: Mapping[str, Any], *, image: Mapping[str, Any], labels: Mapping[str, str]) -> Document:
    """The body that asks for a container as ``wanted``, from ``image`` as the Engine describes it.

    Docker adds an image's variables to those given; a name without a value removes one. All are removed: what an image
    says must reach neither the runner nor a hook that starts it.
    """
    given = {line.partition("=")[0] for line in wanted["Config"]["Env"]}
    inherited = {line.partition("=")[0] for line in (image.get("Config") or {}).get("Env") or []}
    mounts = [
        {
            "Type": mount["Type"],
            "Source": mount["Source"],
            "Target": mount["Destination"],
            "ReadOnly": not mount["RW"],
            "BindOptions": {"Propagation": mount["Propagation"]},
        }
        for mount in wanted["Mounts"]
    ]
    return {
        **wanted["Config"],
        "Env": [*wanted["Config"]["Env"], *sorted(inherited - given)],
        "Image": image["Id"],
        "Labels": dict(labels),
        "HostConfig": {**wanted["HostConfig"], "Mounts": mounts},
    }


def differences(inspected: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """Every member in which ``inspected`` is not what was ``wanted``, as ``HostConfig.Privileged: True, not False``."""
    found = [
        *_members("Config", _config(inspected["Config"]), wanted["Config"]),
        *_members("HostConfig", inspected["HostConfig"], wanted["HostConfig"]),
        *(
            f"HostConfig.{name}: {inspected['HostConfig'][name]!r}, not empty"
            for name in _EMPTY
            if inspected["HostConfig"].get(name)
        ),
        *_mounts(inspected["Mounts"], wanted["Mounts"]),
    ]
    apparmor = inspected.get("AppArmorProfile") or ""
    if apparmor != wanted["AppArmorProfile"]:
        found.append(f"AppArmorProfile: {apparmor!r}, not {wanted['AppArmorProfile']!r}")
    networks = set((inspected.get("NetworkSettings") or {}).get("Networks") or {}) - {"none"}
    found.extend(f"NetworkSettings.Networks: attached to {name!r}" for name in sorted(networks))
    return tuple(found)


def weaknesses(facts: EngineFacts) -> tuple[str, ...]:
    """What makes an Engine unfit to run strangers' models, whatever it is asked for."""
    if facts.seccomp in {"", "unconfined"}:
        return ("this Docker Engine filters no system calls (seccomp); use one with its default profile",)
    return ()


def _security_options(facts: EngineFacts) -> list[str]:
    options = ["no-new-privileges:true", f"seccomp={seccomp.TEXT}"]
    return [*options, f"apparmor={_APPARMOR}"] if facts.has_apparmor else options


def _config(config: Mapping[str, Any]) -> Document:
    """Docker keeps ``NAME`` without a value where a variable of the image was removed: not part of the environment."""
    return {**config, "Env": sorted(line for line in config.get("Env") or [] if "=" in line)}


def _members(where: str, inspected: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in wanted.items():
        actual = inspected.get(name)
        # Engines say "none of these" as null, as an empty list or as an empty object.
        if (actual or None) != (value or None):
            found.append(f"{where}.{name}: {_told(actual)}, not {_told(value)}")
    return found


def _told(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}… ({len(text)} characters)"


def _mounts(inspected: list[Document], wanted: list[Document]) -> list[str]:
    found = []
    by_target = {mount["Destination"]: mount for mount in inspected}
    for mount in wanted:
        actual = by_target.pop(mount["Destination"], None)
        if actual is None:
            found.append(f"Mounts.{mount['Destination']}: missing")
        else:
            found.extend(_members(f"Mounts.{mount['Destination']}", actual, mount))
    found.extend(f"Mounts.{target}: not asked for" for target in by_target)
    return found


def _shm_bytes(spec: ContainerSpec) -> int:
    """Counted against the memory limit. vLLM's processes talk through it; llama-server has no use for it."""
    return 64 * MIB if spec.engine is Engine.LLAMACPP else max(256 * MIB, spec.memory_bytes // 8)


def _tmpfs(spec: ContainerSpec, *, uid: int) -> dict[str, str]:
    """Scratch space of the runner alone. The owner is named because Docker gives a working directory to root."""
    own = f"nosuid,nodev,uid={uid},gid={uid},mode=0700"
    # For a GPU vLLM compiles kernels into its cache and loads them from there; on a CPU it runs eagerly.
    may_load = "exec" if spec.engine is Engine.VLLM and spec.device_ids else "noexec"
    home = f"rw,{may_load},{own},size={'1g' if spec.engine is Engine.VLLM else '64m'}"
    return {"/tmp": f"rw,noexec,{own},size=256m", HOME: home}  # noqa: S108 - inside the container


def _device_requests(spec: ContainerSpec) -> list[Document]:
    if not spec.device_ids:
        return []
    return [
        {
            "Driver": "",
            "Count": 0,
            "DeviceIDs": list(spec.device_ids),
            "Capabilities": [["gpu", "compute", "utility"]],
            "Options": {},
        }
    ]
