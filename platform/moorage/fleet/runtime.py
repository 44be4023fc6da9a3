"""The ContainerRuntime port: what Moorage asks of whatever runs its runners.

The docstrings of :class:`ContainerRuntime` are the specification; ``tests/contracts/test_container_runtime.py`` holds
every adapter to it. The port knows containers by name and assumes nothing about which machine they are on.
"""

import dataclasses
import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, Protocol

from moorage.fleet.engines import Engine, RunnerPaths
from moorage.fleet.isolation import Isolation
from moorage.fleet.runner_output import Leftover, LogLine, Usage

__all__ = [
    "Container",
    "ContainerRuntime",
    "ContainerSpec",
    "Engine",
    "Leftover",
    "LogLine",
    "RunnerPaths",
    "Status",
    "Usage",
]

RuntimeName = Literal["docker", "process", "memory"]
Status = Literal["created", "running", "paused", "exited"]

INSTANCE_LABEL: Final = "moorage.instance"
ORGANIZATION_LABEL: Final = "moorage.organization"
REPLICA_LABEL: Final = "moorage.replica"
EPOCH_LABEL: Final = "moorage.epoch"
SPEC_LABEL: Final = "moorage.spec"

_NAME: Final = re.compile(r"moorage-[a-z0-9]+-[a-z0-9_]+-[0-9]+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """Everything that decides what a container is. Equal specs make equal containers."""

    name: str  #: :func:`container_name`
    replica_id: str
    organization_id: str
    epoch: int  #: counts the lives of a replica
    engine: Engine
    argv: tuple[str, ...]  #: program and arguments, never a shell line
    environment: tuple[tuple[str, str], ...]  #: the whole environment; nothing is added from an image or a parent
    model_dir: Path  #: read-only for the runner
    socket_dir: (
        Path  #: the only place the runner may write to that outlives it; :func:`moorage.fleet.sockets.directory`
    )
    memory_bytes: int  #: memory and swap together
    cpu_millis: int
    pids_limit: int = 512
    labels: tuple[tuple[str, str], ...] = ()  #: for people; those of the platform win
    device_ids: tuple[str, ...] = ()  #: vendor ids of exactly the devices it sees
    container_runtime: str = "runc"  #: what the Engine starts it with; :mod:`moorage.fleet.runtime_classes`

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"not a container name of ours: {self.name!r}")
        if not self.argv or self.memory_bytes <= 0 or self.cpu_millis <= 0 or self.pids_limit <= 0:
            raise ValueError(f"a container needs a program and positive limits: {self.name}")
        if not (self.model_dir.is_absolute() and self.socket_dir.is_absolute()):
            raise ValueError(f"directories of a container are absolute: {self.name}")

    @property
    def spec_hash(self) -> str:
        """32 hex digits over every field: two containers of one name are the same if these are."""
        document = dataclasses.asdict(self)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Container:
    """What the runtime says about one container, at the moment of asking."""

    name: str
    replica_id: str
    epoch: int
    spec_hash: str
    status: Status
    exit_code: int | None = None  #: None while it runs, and where nobody was there to see it
    is_oom_killed: bool = False
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    labels: tuple[tuple[str, str], ...] = ()
    image: str = ""  #: digest of the image, or path of the program: what an answer is traced to


class ContainerRuntime(Protocol):
    """A place where containers run.

    Every verb may be called by several threads and several processes at once. Every verb raises
    :class:`~moorage.fleet.errors.RuntimeUnreachable` when the runtime did not answer in time: "I could not ask" is
    never reported as "it is not there". Verbs touch containers of this instance only.
    """

    @property
    def name(self) -> RuntimeName:
        """Which adapter this is."""

    @property
    def is_isolated(self) -> bool:
        """Whether a runner is kept from the network, the file system and other runners."""

    def runner_paths(self, *, model_dir: Path, socket_dir: Path, engine: Engine) -> RunnerPaths:
        """Where a runner will find its program, model, socket and home: fixed paths inside an isolated container, those
        of the host otherwise. Asks nobody. Raises ImageMissing where the program of ``engine`` is not configured."""

    def ensure(self, spec: ContainerSpec) -> Container:
        """Create and start the container of ``spec``, and return it; at most one container ever has the name.

        Makes ``socket_dir`` and empties it of an old socket. After creation the container is compared with what was
        asked for, where the runtime can be asked; a difference removes it, before it ran, and raises ProfileMismatch.
        A container of that name made from an equal spec is adopted: started if it was only created, and otherwise
        returned as it is, running, paused or exited (whether to start an exited one again is not decided here).
        Made from another spec, or not ours: ContainerConflict, and nothing is touched. A program that cannot be
        executed raises StartFailed, or ends with exit code 126 or 127 and says so in its logs, where another program
        starts it. ImageMissing and StartFailed leave nothing behind.
        """

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """Stop and remove the container, its socket directory and its logs; return when it is gone. Idempotent.

        The runner gets SIGTERM (woken first if paused) and, ``grace_seconds`` later, SIGKILL, with all its children.
        A container of that name that is not this instance's: ContainerConflict.
        """

    def list(self) -> tuple[Container, ...]:
        """All containers of this instance, in every status, by name."""

    def inspect(self, name: str) -> Container | None:
        """The container of that name; None only if it is certain that this instance has none."""

    def logs(self, name: str, *, tail: int = 200) -> str:
        """The last ``tail`` lines of standard output and error, each stream's oldest first, mixed as they arrived.

        ContainerMissing where there is none.
        """

    def follow_logs(
        self, name: str, *, since: dt.datetime | None = None, tail: int | None = None
    ) -> Iterator[LogLine | None]:
        """The lines that the container has printed at or after ``since`` (None: all that are kept), at most the last
        ``tail`` of them (None: all), and those that it prints from now on, each as soon as it is complete; None now
        and then while there is none, so that the caller can leave. Ends when the container has ended and everything
        is read. A reader that is slow, or leaves, holds up nobody: it misses what the log no longer keeps.
        ContainerMissing where there is none.
        """

    def usage(self, name: str) -> Usage:
        """What the container's processes take at the moment; its members are None where it does not run.

        ContainerMissing where there is none.
        """

    def clear_leftovers(self, *, older_than_seconds: float) -> tuple[Leftover, ...]:
        """Remove what this instance owns that is no container and of no use: networks and volumes with its label (no
        runner has any), records of a creation that was broken off. What is younger stays: it may be on its way."""

    def pause(self, name: str) -> None:
        """Freeze every process of the container; memory is kept. Idempotent. ContainerMissing where none is running."""

    def unpause(self, name: str) -> None:
        """Let a frozen container go on. Idempotent. ContainerMissing where none is paused or running."""

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        """End the container's process and keep the container; return when it has ended. Idempotent.

        The runner gets SIGTERM (woken first if paused) and, ``grace_seconds`` later, SIGKILL, with all its children.
        ContainerMissing where there is none.
        """

    def start(self, name: str) -> Container:
        """Start a container that was stopped, or ended, as it was made, and return it; one that is paused goes on, one
        that runs is left alone. Its old socket is removed first. ContainerMissing where there is none; StartFailed,
        with the container kept or gone, where its program cannot be executed.
        """

    def isolation(self, name: str) -> Isolation:
        """What the container really got: read back now, from the runtime and, where it can be seen, from the kernel.
        ContainerMissing where there is none.
        """

    def ping(self) -> None:
        """Return if the runtime answers."""


def container_name(*, instance: str, replica_id: str, epoch: int) -> str:
    """The one name a container of this life of a replica can have, so that two creations of it collide."""
    return f"moorage-{instance}-{replica_id.lower()}-{epoch}"


def labels_of(spec: ContainerSpec, *, instance: str) -> dict[str, str]:
    """The labels a container of ``spec`` carries. A tenant's label never replaces one of ours."""
    own = {
        INSTANCE_LABEL: instance,
        ORGANIZATION_LABEL: spec.organization_id,
        REPLICA_LABEL: spec.replica_id,
        EPOCH_LABEL: str(spec.epoch),
        SPEC_LABEL: spec.spec_hash,
    }
    return {**{key: value for key, value in spec.labels if not key.startswith("moorage.")}, **own}
