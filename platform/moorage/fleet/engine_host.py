"""What a Docker Engine says of itself and of its host (``GET /info``, ``GET /version``), read into our words. Pure."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from moorage.fleet import advisories
from moorage.fleet.profile import EngineFacts

#: The first release of the Engine's API that knows control group namespaces.
_CGROUP_NAMESPACES: Final = (1, 41)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineHost:
    """A host that runs containers: what its walls are made of."""

    engine: str
    kernel: str
    system: str
    runc: advisories.Verdict
    cgroup_version: str
    has_seccomp: bool
    has_apparmor: bool
    has_user_namespaces: bool  #: root in a container is nobody outside of it (userns-remap)
    is_rootless: bool
    runtimes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As it is stored and shown."""
        return {
            "engine": self.engine,
            "kernel": self.kernel,
            "system": self.system,
            "runc": self.runc.version,
            "runc_is_safe": self.runc.is_safe,
            "runc_advisories": list(self.runc.open_advisories),
            "runc_verdict": self.runc.sentence,
            "cgroup_version": self.cgroup_version,
            "seccomp": self.has_seccomp,
            "apparmor": self.has_apparmor,
            "user_namespaces": self.has_user_namespaces,
            "rootless": self.is_rootless,
            "runtimes": list(self.runtimes),
        }


def facts(info: Mapping[str, Any], *, api_version: str) -> EngineFacts:
    """What the container profile has to know of an Engine."""
    security = _security(info)
    api = tuple(int(part) for part in api_version.split("."))
    return EngineFacts(
        has_swap_limit=bool(info.get("SwapLimit")),
        has_private_cgroup=api >= _CGROUP_NAMESPACES,
        seccomp=security["seccomp"].get("profile", "default") if "seccomp" in security else "",
        has_apparmor="apparmor" in security,
        runtimes=frozenset(info.get("Runtimes") or {"runc": {}}),
    )


def read(info: Mapping[str, Any], version: Mapping[str, Any]) -> EngineHost:
    """The host that these two answers describe."""
    security = _security(info)
    runc: Mapping[str, Any] = next((each for each in version.get("Components") or [] if each.get("Name") == "runc"), {})
    return EngineHost(
        engine=str(info.get("ServerVersion", "")),
        kernel=str(info.get("KernelVersion", "")),
        system=str(info.get("OperatingSystem", "")),
        runc=advisories.verdict(
            "runc", version=str(runc.get("Version", "")), build=str((runc.get("Details") or {}).get("GitCommit", ""))
        ),
        cgroup_version=str(info.get("CgroupVersion", "1")),
        has_seccomp="seccomp" in security,
        has_apparmor="apparmor" in security,
        has_user_namespaces="userns" in security,
        is_rootless="rootless" in security,
        runtimes=tuple(sorted(name for name in info.get("Runtimes") or {} if not name.startswith("io.containerd."))),
    )


def _security(info: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """``["name=seccomp,profile=default", "name=apparmor"]`` by name."""
    options = [
        dict(part.split("=", 1) for part in line.split(",") if "=" in part)
        for line in info.get("SecurityOptions") or []
    ]
    return {option["name"]: option for option in options if "name" in option}
