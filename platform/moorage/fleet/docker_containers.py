"""Runners as containers on a Docker Engine: what is asked of it, in which order, and what its answers are taken for."""

import contextlib
import datetime as dt
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from moorage.fleet import (
    container_walls,
    docker_log,
    engine_host,
    inspected_container,
    name_lock,
    profile,
    runner_directories,
    sockets,
)
from moorage.fleet.container_freezers import ContainerFreezers
from moorage.fleet.container_maker import ContainerMaker
from moorage.fleet.engine_calls import Document, EngineCalls
from moorage.fleet.engines import Engine, RunnerPaths
from moorage.fleet.errors import (
    ContainerConflict,
    ContainerMissing,
    RuntimeFailed,
    StartFailed,
)
from moorage.fleet.isolation import Isolation
from moorage.fleet.runner_output import Leftover, LogLine, Usage
from moorage.fleet.runtime import INSTANCE_LABEL, Container, ContainerSpec
from moorage.fleet.weights import model_path
from moorage.kernel import fault

_PROGRAMS: Final[Mapping[Engine, tuple[str, ...]]] = {
    Engine.LLAMACPP: ("/usr/local/bin/llama-server",),
    Engine.VLLM: ("/usr/bin/python3", "-m", "vllm.entrypoints.openai.api_server"),
}


class DockerContainers:
    """Runners as containers of one instance on the Engine behind ``engine``, which listens at ``address``."""

    name: Final[Literal["docker"]] = "docker"
    is_isolated: Final = True

    def __init__(
        self,
        *,
        instance: str,
        images: Mapping[Engine, str],
        socket_root: Path,
        engine: EngineCalls,
        address: str,
        call_seconds: int,
    ) -> None:
        self.instance = instance
        self._socket_root = socket_root
        self._engine, self._address = engine, address
        self._maker = ContainerMaker(
            instance=instance, images=images, engine=engine, address=address, call_seconds=call_seconds
        )
        self._freezers = ContainerFreezers()
        #: What was said of containers that were stopped here: their start has nothing to ask any more.
        self._stopped: dict[str, Document] = {}

    def runner_paths(self, *, model_dir: Path, socket_dir: Path, engine: Engine) -> RunnerPaths:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        sockets.path(socket_dir)
        return RunnerPaths(
            model=model_path(model_dir, engine=engine, seen_as=profile.MODEL_DIR),
            socket=f"{profile.SOCKET_DIR}/{sockets.SOCKET_NAME}",
            home=profile.HOME,
            program=_PROGRAMS[engine],
        )

    def ensure(self, spec: ContainerSpec) -> Container:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._engine.reaching(), name_lock.held(spec.name, under=self._socket_root):
            return self._freezers.container(self._maker.made(spec))

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._engine.reaching(), name_lock.held(name, under=self._socket_root):
            inspected = self._engine.inspect(name)
            if inspected is None:
                # Somebody removed it by hand, and did not know of its directory.
                sockets.discard(sockets.directory_of(self._socket_root, name))
                return
            if (inspected["Config"]["Labels"] or {}).get(INSTANCE_LABEL) != self.instance:
                raise ContainerConflict(f"{name} does not belong to this instance; it stays.")
            self._end(inspected, grace_seconds)
            fault.point("after_stop")
            # Before the container: were we to die between the two, the next call would still know where it is.
            for directory in runner_directories.of_container(inspected):
                sockets.discard(directory)
            self._stopped.pop(name, None)
            self._engine.remove(inspected["Id"])

    def list(self) -> tuple[Container, ...]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._engine.reaching():
            ids = self._engine.ids(label=f"{INSTANCE_LABEL}={self.instance}")
            found = [self._engine.inspect(container_id) for container_id in ids]
            containers = [self._freezers.container(inspected) for inspected in found if inspected is not None]
            return tuple(sorted(containers, key=lambda container: container.name))

    def inspect(self, name: str) -> Container | None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._engine.reaching():
            inspected = self._ours(name)
            return None if inspected is None else self._freezers.container(inspected)

    def logs(self, name: str, *, tail: int = 200) -> str:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._engine.reaching():
            raw = self._engine.log(self._present(name)["Id"], tail=tail)
            return raw.decode(errors="replace").rstrip("\n")

    def follow_logs(
        self, name: str, *, since: dt.datetime | None = None, tail: int | None = None
    ) -> Iterator[LogLine | None]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._engine.reaching():
            container_id = self._present(name)["Id"]
        return self._followed(container_id, since, tail)

    def _followed(self, container_id: str, since: dt.datetime | None, tail: int | None) -> Iterator[LogLine | None]:
        with self._engine.reaching():
            opened = self._engine.log_stream(container_id, silence_seconds=docker_log.SILENCE_SECONDS)
            yield from docker_log.lines(opened, since=since, tail=tail)

    def usage(self, name: str) -> Usage:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. An Engine on cgroup v2 knows no peak."""
        with self._engine.reaching():
            inspected = self._present(name)
            if inspected_container.status(inspected) == "exited":
                return Usage()
            return inspected_container.usage(self._engine.stats(inspected["Id"]))

    def clear_leftovers(self, *, older_than_seconds: float) -> tuple[Leftover, ...]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        removed = []
        with self._engine.reaching():
            mine = f"{INSTANCE_LABEL}={self.instance}"
            now = time.time()
            for network in self._engine.networks(label=mine):
                if now - inspected_container.age_mark(network["Created"]) >= older_than_seconds:
                    self._engine.remove_network(network["Id"])
                    removed.append(Leftover(kind="network", name=network["Name"]))
            for volume in self._engine.volumes(label=mine):
                if now - inspected_container.age_mark(volume["CreatedAt"]) >= older_than_seconds:
                    self._engine.remove_volume(volume["Name"])
                    removed.append(Leftover(kind="volume", name=volume["Name"]))
        return tuple(removed)

    def pause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. The Engine pauses it once, the kernel after that."""
        with self._engine.reaching(), name_lock.held(name, under=self._socket_root):
            inspected = self._present(name)
            freezer = self._freezers.find(name, inspected)
            if inspected_container.status(inspected) == "paused" and freezer is not None:
                if not freezer.freeze():
                    raise RuntimeFailed(f"{name} could not be frozen.")
                return
            self._turn(inspected, to="paused")

    def unpause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. The Engine is not asked where the freezer is known."""
        freezer = self._freezers.known(name)
        if freezer is not None and freezer.thaw():
            return
        with self._engine.reaching(), name_lock.held(name, under=self._socket_root):
            inspected = self._present(name)
            freezer = self._freezers.find(name, inspected)
            if inspected_container.status(inspected) == "paused" and freezer is not None and freezer.thaw():
                return
            self._turn(inspected, to="running")

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._engine.reaching(), name_lock.held(name, under=self._socket_root):
            inspected = self._present(name)
            self._end(inspected, grace_seconds)
            runner_directories.prepare_again(inspected, engine=self._address)
            self._stopped[name] = inspected

    def start(self, name: str) -> Container:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. It is what it was when it was made and compared: an
        Engine changes nothing of a container but its limits, and only when asked."""
        with self._engine.reaching(), name_lock.held(name, under=self._socket_root):
            if (known := self._stopped.pop(name, None)) is not None and self._started_again(known):
                return self._freezers.container(self._present(name))
            inspected = self._present(name)
            match inspected_container.status(inspected):
                case "paused":
                    freezer = self._freezers.find(name, inspected)
                    if freezer is None or not freezer.thaw():
                        self._turn(inspected, to="running")
                case "exited" | "created":
                    runner_directories.prepare_again(inspected, engine=self._address)
                    if (why := self._engine.start(inspected["Id"])) is not None:
                        raise StartFailed(f"The runner could not be started again: {why}")
                case _:
                    pass
            return self._freezers.container(self._present(name))

    def _started_again(self, known: Document) -> bool:
        """By its id, which no other container can have. False where it is not as it was left: then it is asked for."""
        return runner_directories.is_as_left(known) and self._engine.start(known["Id"]) is None

    def isolation(self, name: str) -> Isolation:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._engine.reaching():
            inspected = self._present(name)
            return container_walls.of_container(
                inspected,
                host=engine_host.read(self._engine.info(), self._engine.version()),
                kernel=container_walls.KernelView.of(inspected["State"].get("Pid") or 0, inspected["Id"]),
            )

    def ping(self) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._engine.reaching():
            self._engine.ping()

    def _end(self, inspected: Document, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL; return when its process has ended."""
        if inspected_container.status(inspected) == "paused":
            # A frozen process receives no signal. One that was thawed without the Engine it cannot unpause, but stop.
            with contextlib.suppress(RuntimeFailed):
                self._engine.unpause(inspected["Id"])
        self._freezers.forget(inspected["Name"].lstrip("/"))
        self._engine.stop(inspected["Id"], grace_seconds=max(0, round(grace_seconds)))

    def _turn(self, inspected: Document, *, to: Literal["paused", "running"]) -> None:
        status = inspected_container.status(inspected)
        if status == to:
            return
        if status not in {"running", "paused"}:
            raise ContainerMissing(f"{inspected['Name']} does not run.")
        try:
            if to == "paused":
                self._engine.pause(inspected["Id"])
            else:
                self._engine.unpause(inspected["Id"])
        except RuntimeFailed:
            # Another caller may have done it in the meantime, which is what was asked for.
            if inspected_container.status(self._present(inspected["Id"])) != to:
                raise

    def _present(self, name: str) -> Document:
        inspected = self._ours(name)
        if inspected is None:
            raise ContainerMissing(f"There is no container {name}.")
        return inspected

    def _ours(self, name: str) -> Document | None:
        inspected = self._engine.inspect(name)
        if inspected is None or (inspected["Config"]["Labels"] or {}).get(INSTANCE_LABEL) != self.instance:
            return None
        return inspected
