"""The memory runtime with an engine that listens for every container, and goes with it."""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from moorage.fleet import sockets
from moorage.fleet.runtime import Container, ContainerSpec
from moorage.fleet.runtime_memory import MemoryRuntime
from tests.deployments.stub_engine import StubEngine, listening


class StubbedRuntime(MemoryRuntime):
    """Containers are values; behind the socket of each that runs a stub answers. ``engines``: all there ever were."""

    def __init__(self, *, instance: str) -> None:
        super().__init__(instance=instance)
        self.engines: list[StubEngine] = []
        self._listening: dict[str, ExitStack] = {}
        self._sockets: dict[str, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in tuple(self._listening):
            self._leave(name)

    def ensure(self, spec: ContainerSpec) -> Container:
        is_new = self.inspect(spec.name) is None
        container = super().ensure(spec)
        if is_new:
            self._sockets[spec.name] = sockets.path(spec.socket_dir)
            self._listen(spec.name)
        return container

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        super().stop(name, grace_seconds=grace_seconds)
        self._leave(name)

    def start(self, name: str) -> Container:
        container = super().start(name)
        if name not in self._listening:
            self._listen(name)
        return container

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        self._leave(name)
        super().remove(name, grace_seconds=grace_seconds)

    def _listen(self, name: str) -> None:
        stack = self._listening[name] = ExitStack()
        self.engines.append(stack.enter_context(listening(self._sockets[name])))

    def _leave(self, name: str) -> None:
        if (stack := self._listening.pop(name, None)) is not None:
            stack.close()
