"""The container runtime that runs nothing and remembers everything: for rehearsals and for tests of what is above it.

It keeps every promise of the port, and lets its owner make happen what happens to containers: :meth:`crash`,
:meth:`say`, :attr:`usages`, :attr:`leftovers`, :attr:`is_reachable`.
"""

import dataclasses
import datetime as dt
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from moorage.fleet import isolation, sockets
from moorage.fleet.engines import Engine, RunnerPaths
from moorage.fleet.errors import ContainerConflict, ContainerMissing, RuntimeUnreachable
from moorage.fleet.runner_output import Leftover, LogLine, Stream, Usage
from moorage.fleet.runtime import Container, ContainerSpec, labels_of
from moorage.kernel import clock

_PAUSE_SECONDS: Final = 0.02


class MemoryRuntime:
    """Containers as values in a dictionary. ``log`` is what every container has written."""

    name: Final[Literal["memory"]] = "memory"
    is_isolated: Final = True

    def __init__(self, *, instance: str) -> None:
        self.instance = instance
        self.is_reachable = True
        self.log: dict[str, list[LogLine]] = {}
        self.usages: dict[str, Usage] = {}
        self.leftovers: list[Leftover] = []
        self._containers: dict[str, Container] = {}
        self._socket_dirs: dict[str, Path] = {}
        self._lock = threading.Lock()

    def runner_paths(self, *, model_dir: Path, socket_dir: Path, engine: Engine) -> RunnerPaths:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        return RunnerPaths(model=str(model_dir), socket=str(sockets.path(socket_dir)), program=(engine.value,))

    def ensure(self, spec: ContainerSpec) -> Container:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._reach()
            existing = self._containers.get(spec.name)
            if existing is not None:
                if existing.spec_hash != spec.spec_hash:
                    raise ContainerConflict
                return existing
            sockets.prepare(spec.socket_dir, uid=None)
            container = Container(
                name=spec.name,
                replica_id=spec.replica_id,
                epoch=spec.epoch,
                spec_hash=spec.spec_hash,
                status="running",
                started_at=clock.now(),
                labels=tuple(sorted(labels_of(spec, instance=self.instance).items())),
                image=f"memory:{spec.engine.value}",
            )
            self._containers[spec.name] = container
            self._socket_dirs[spec.name] = spec.socket_dir
            self.log[spec.name] = [_said(f"started {' '.join(spec.argv)}")]
            return container

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:  # noqa: ARG002 - nothing here needs time to stop
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._reach()
            self._containers.pop(name, None)
            self.log.pop(name, None)
            socket_dir = self._socket_dirs.pop(name, None)
            if socket_dir is not None:
                sockets.discard(socket_dir)

    def list(self) -> tuple[Container, ...]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._reach()
            return tuple(self._containers[name] for name in sorted(self._containers))

    def inspect(self, name: str) -> Container | None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._reach()
            return self._containers.get(name)

    def logs(self, name: str, *, tail: int = 200) -> str:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._reach()
            if name not in self._containers:
                raise ContainerMissing
            return "\n".join(line.text for line in self.log[name][-tail:])

    def follow_logs(
        self, name: str, *, since: dt.datetime | None = None, tail: int | None = None
    ) -> Iterator[LogLine | None]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._present(name)
        return self._followed(name, since, tail)

    def _followed(self, name: str, since: dt.datetime | None, tail: int | None) -> Iterator[LogLine | None]:
        at = 0
        while True:
            with self._lock:
                self._reach()
                container = self._containers.get(name)
                lines = self.log.get(name, [])[at:]
            wanted = [line for line in lines if since is None or line.at >= since]
            yield from wanted if at or tail is None else wanted[max(0, len(wanted) - tail) :]
            at += len(lines)
            if not lines:
                if container is None or container.status == "exited":
                    return
                yield None
                time.sleep(_PAUSE_SECONDS)

    def usage(self, name: str) -> Usage:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._present(name)
            return self.usages.get(name, Usage())

    def clear_leftovers(self, *, older_than_seconds: float) -> tuple[Leftover, ...]:  # noqa: ARG002 - all are old
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._reach()
            removed, self.leftovers = tuple(self.leftovers), []
            return removed

    def say(self, name: str, text: str, *, stream: Stream = "stdout") -> None:
        """Let the program of ``name`` print a line."""
        with self._lock:
            self.log[name].append(_said(text, stream))

    def isolation(self, name: str) -> isolation.Isolation:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._present(name)
            return isolation.of_process(self.name)

    def pause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        self._turn(name, to="paused")

    def unpause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        self._turn(name, to="running")

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:  # noqa: ARG002 - nothing here needs time to stop
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            container = self._present(name)
            if container.status != "exited":
                self._containers[name] = dataclasses.replace(
                    container, status="exited", exit_code=0, finished_at=clock.now()
                )

    def start(self, name: str) -> Container:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            container = self._present(name)
            if container.status == "exited":
                container = dataclasses.replace(
                    container, exit_code=None, is_oom_killed=False, started_at=clock.now(), finished_at=None
                )
                self.log[name].append(_said("started again"))
                sockets.prepare(self._socket_dirs[name], uid=None)
            self._containers[name] = dataclasses.replace(container, status="running")
            return self._containers[name]

    def ping(self) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._lock:
            self._reach()

    def crash(self, name: str, *, exit_code: int = 1, is_oom_killed: bool = False) -> None:
        """Let the program of ``name`` end by itself."""
        with self._lock:
            self._containers[name] = dataclasses.replace(
                self._containers[name],
                status="exited",
                exit_code=exit_code,
                is_oom_killed=is_oom_killed,
                finished_at=clock.now(),
            )

    def _turn(self, name: str, *, to: Literal["paused", "running"]) -> None:
        with self._lock:
            self._reach()
            container = self._containers.get(name)
            if container is None or container.status not in {"running", "paused"}:
                raise ContainerMissing
            self._containers[name] = dataclasses.replace(container, status=to)

    def _present(self, name: str) -> Container:
        self._reach()
        if name not in self._containers:
            raise ContainerMissing
        return self._containers[name]

    def _reach(self) -> None:
        if not self.is_reachable:
            raise RuntimeUnreachable


def _said(text: str, stream: Stream = "stdout") -> LogLine:
    return LogLine(stream=stream, at=clock.now(), text=text)
