"""A look from inside: what a runner finds when it tries to get out. The claims, the command, and the reading of its
answers.

Pure. The program is ``inside_probe.pl``; it runs in a container of a real replica's specification in which nothing
but the argument list is another. Who runs it is :mod:`moorage.fleet.probing`.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from moorage.fleet import profile, socket_mount
from moorage.fleet.profile import EngineFacts
from moorage.fleet.runtime import ContainerSpec

_PROGRAM: Final = Path(__file__).with_name("inside_probe.pl").read_text()
_PERL: Final = "/usr/bin/perl"
_FINISHED: Final = "done"
_NOFILE: Final = 4096
_SIZE: Final = re.compile(r"size=(\d+)([kmg])")
_UNITS: Final = {"k": 1024, "m": 1024**2, "g": 1024**3}

#: What is claimed, by the code of a finding or by the part before its dot.
CLAIMS: Final[Mapping[str, str]] = {
    "network.interfaces": "It has no network interface but loopback",
    "network.routes": "It has no route to anywhere",
    "network.metadata": "The cloud's metadata address cannot be reached",
    "network.machine": "No address of the machine can be reached",
    "network.names": "No name is resolved",
    "network.vsock": "The host of a virtual machine cannot be called (AF_VSOCK)",
    "network.packets": "No packets of its own making (AF_PACKET)",
    "network.raw": "No raw sockets",
    "network.crypto": "No sockets of the kernel's cryptography (AF_ALG)",
    "network.bluetooth": "No sockets of other kinds",
    "network.abstract": "Sockets of the machine that have no file cannot be reached",
    "files.mounts": "Nothing is mounted but what it was given",
    "files.root": "Nothing outside of its scratch space can be written",
    "files.engine_socket": "There is no socket of a container Engine",
    "files.neighbours": "No file of another tenant or of the machine is there",
    "files.devices": "There is no device that it was not given",
    "files.programs": "What it writes cannot be run",
    "process.capabilities": "It has no capability, and can get none",
    "process.privileges": "Its privileges cannot grow",
    "process.system_calls": "Its system calls are filtered",
    "process.user": "It is nobody: not root, in no group of others",
    "process.neighbours": "It sees no process but its own",
    "process.environment": "Nothing of an image or of a worker is in its environment",
    "kernel": "The kernel refuses it",
    "limits.core": "It leaves no core files",
    "limits.open_files": "It cannot open any number of files",
    "limits.space_tmp": "Filling /tmp ends at its size",
    "limits.space_home": "Filling its home ends at its size",
    "limits.space_shm": "Filling shared memory ends at its size",
    "limits.space_socket_dir": "Filling the socket's directory ends at its size",
    "limits.names_socket_dir": "Filling the socket's directory with names ends",
    "limits.processes": "A fork bomb ends at the limit of processes",
}
#: Findings without which an answer is not whole; ``network.machine`` and ``network.abstract`` need something to try.
_EVERY: Final = frozenset(CLAIMS) - {"kernel", "network.machine", "network.abstract"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One try: whether the door was closed, and what was found there."""

    code: str
    is_closed: bool
    found: str

    @property
    def claim(self) -> str:
        """What this is about, for people."""
        group, _, name = self.code.partition(".")
        return f"{CLAIMS['kernel']}: {name}" if group == "kernel" else CLAIMS.get(self.code, self.code)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """All that one probe found. ``trouble`` says what it could not finish, and why."""

    findings: tuple[Finding, ...]
    trouble: str = ""

    @property
    def is_closed(self) -> bool:
        """Whether every door was tried and every one was closed."""
        return not self.trouble and all(finding.is_closed for finding in self.findings)

    @property
    def open(self) -> tuple[Finding, ...]:
        """What was not closed."""
        return tuple(finding for finding in self.findings if not finding.is_closed)

    def document(self) -> dict[str, Any]:
        """As it is stored and shown."""
        rows = [{**dataclasses.asdict(finding), "claim": finding.claim} for finding in self.findings]
        return {"findings": rows, "trouble": self.trouble}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """What is on the machine and must not be found from inside."""

    addresses: tuple[str, ...] = ()  #: ``host:port`` where something listens
    hidden: tuple[str, ...] = ()  #: paths of the machine, of neighbours, of other models
    engine_sockets: tuple[str, ...] = ()
    abstract_sockets: tuple[str, ...] = ()


def argv(spec: ContainerSpec, *, machine: Machine, hold_seconds: int = 0) -> tuple[str, ...]:
    """The argument list that takes the place of ``spec``'s. The fork bomb is held for ``hold_seconds``."""
    arguments = [
        ("home", profile.HOME),
        ("socket_dir", profile.SOCKET_DIR),
        ("model", profile.MODEL_DIR),
        ("pids", str(spec.pids_limit)),
        ("nofile", str(_NOFILE)),
        ("memory", str(spec.memory_bytes)),
        ("devices", "1" if spec.device_ids else ""),
        ("hold", str(hold_seconds)),
        *((f"bytes_{place}", str(size)) for place, size in _scratch(spec).items()),
        *(("reach", address) for address in machine.addresses),
        *(("hidden", path) for path in machine.hidden),
        *(("engine", path) for path in machine.engine_sockets),
        *(("abstract", name) for name in machine.abstract_sockets),
        *(("variable", name) for name, _ in spec.environment),
    ]
    return (_PERL, "-e", _PROGRAM, "--", *(f"{name}={value}" for name, value in arguments))


def read(lines: Iterable[str]) -> Report:
    """The report that a probe's output is."""
    findings = []
    last = ""
    for line in lines:
        code, _, rest = line.partition("\t")
        verdict, _, found = rest.partition("\t")
        if verdict in {"closed", "open"}:
            findings.append(Finding(code=code, is_closed=verdict == "closed", found=found))
        last = line or last
    missing = sorted(_EVERY - {finding.code for finding in findings})
    if last != _FINISHED or missing:
        said = f" It said last: {last[:200]}" if last and last != _FINISHED else ""
        return Report(findings=tuple(findings), trouble=f"Not tried: {', '.join(missing) or 'the end'}.{said}")
    return Report(findings=tuple(findings))


def _scratch(spec: ContainerSpec) -> dict[str, int]:
    """Bytes that may be written to each place, and a little more for what a file system rounds up."""
    host = profile.expected(spec, uid=1, facts=EngineFacts())["HostConfig"]
    size = {place: _bytes(host["Tmpfs"][path]) for place, path in (("tmp", "/tmp"), ("home", profile.HOME))}  # noqa: S108
    size |= {"shm": host["ShmSize"], "socket_dir": socket_mount.SIZE_BYTES}
    return {place: count + 65536 for place, count in size.items()}


def _bytes(options: str) -> int:
    found = _SIZE.search(options)
    assert found is not None, "every scratch space of the profile has a size"
    return int(found[1]) * _UNITS[found[2]]
