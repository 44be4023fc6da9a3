"""The isolation that a replica really got: read back from the Engine and the kernel, never from what was asked for.

``walls`` are what stands around a runner, each with what was found and whether it holds; None says that this machine
has no such wall. A runner that is a plain process has none, and the answer says that.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, Literal

#: none: a process of this machine; container: namespaces of this machine's kernel; sandbox: a kernel of its own.
Level = Literal["none", "container", "sandbox"]

_SENTENCES: Final[Mapping[Level, str]] = {
    "none": "None: it is a process of this machine, with the network and files of the user who runs Moorage.",
    "container": "A container on the machine's own kernel, without a network.",
    "sandbox": "A sandbox with a kernel of its own, without a network.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wall:
    """One of them: a code for programs, its name and what was found for people."""

    code: str
    name: str
    found: str
    holds: bool | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Isolation:
    """What one runner got."""

    runtime: str  #: docker, process or memory
    level: Level
    container_runtime: str = ""  #: runc, runsc
    walls: tuple[Wall, ...] = ()
    host: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """For people."""
        return _SENTENCES[self.level]

    def document(self) -> dict[str, Any]:
        """As it is stored and shown."""
        return {
            "runtime": self.runtime,
            "level": self.level,
            "sentence": self.sentence,
            "container_runtime": self.container_runtime,
            "walls": [dataclasses.asdict(wall) for wall in self.walls],
            "host": dict(self.host),
        }


def of_process(runtime: str = "process") -> Isolation:
    """A process of this machine, or of nothing at all: no walls."""
    return Isolation(runtime=runtime, level="none")
