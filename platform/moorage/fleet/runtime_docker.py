"""The container runtime of production: hardened containers on a Docker Engine. The only module that knows its SDK.

Every create body is built here from validated fields; no text of a tenant reaches a host setting. The Engine is asked
afterwards what it made, and anything but :func:`moorage.fleet.profile.expected` is removed before it has run.
"""

import contextlib
import dataclasses
import datetime as dt
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import docker
import docker.errors
import urllib3.exceptions

from moorage.fleet import (
    container_walls,
    docker_log,
    engine_host,
    inspected_container,
    name_lock,
    profile,
    socket_mount,
    sockets,
)
from moorage.fleet import freezer as freezers
from moorage.fleet.engines import Engine, RunnerPaths
from moorage.fleet.errors import (
    ContainerConflict,
    ContainerMissing,
    ImageMissing,
    ProfileMismatch,
    RuntimeClassMissing,
    RuntimeFailed,
    RuntimeUnreachable,
    StartFailed,
)
from moorage.fleet.freezer import Freezer
from moorage.fleet.isolation import Isolation
from moorage.fleet.runner_output import Leftover, LogLine, Usage
from moorage.fleet.runtime import (
    INSTANCE_LABEL,
    SPEC_LABEL,
    Container,
    ContainerSpec,
    labels_of,
)
from moorage.fleet.weights import model_path
from moorage.kernel import fault

#: One call of the Engine. `stop` adds its own grace to it.
CALL_SECONDS: Final = 30
_LOOK_SECONDS: Final = 0.05
_PROGRAMS: Final[Mapping[Engine, tuple[str, ...]]] = {
    Engine.LLAMACPP: ("/usr/local/bin/llama-server",),
    Engine.VLLM: ("/usr/bin/python3", "-m", "vllm.entrypoints.openai.api_server"),
}

Document = dict[str, Any]


class DockerRuntime:
    """Runners as containers of one instance on the Engine at ``address`` (None: Docker's usual socket)."""

    name: Final[Literal["docker"]] = "docker"
    is_isolated: Final = True

    def __init__(
        self,
        *,
        instance: str,
        images: Mapping[Engine, str],
        socket_root: Path,
        address: str | None = None,
        call_seconds: int = CALL_SECONDS,
    ) -> None:
        self.instance = instance
        self._images = dict(images)
        self._socket_root = socket_root
        self._address = address or "unix:///var/run/docker.sock"
        self._call_seconds = call_seconds
        # The SDK's session is not made to be shared among threads.
        self._local = threading.local()
        self._freezers: dict[str, Freezer] = {}
        self._known_facts: profile.EngineFacts | None = None
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
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. In steps:

        1. Create it, with every setting explicit and every variable of the image's environment removed. Where the name
           is taken, what is there is adopted or refused.
        2. Ask the Engine what it made, compare, remove on any difference.
        3. Start.
        """
        with _reaching(), name_lock.held(spec.name, under=self._socket_root):
            engine = self._engine()
            facts = self._facts(engine)
            if spec.container_runtime not in facts.runtimes:
                raise RuntimeClassMissing(
                    f"The Docker Engine has no container runtime {spec.container_runtime!r}, with which containers of"
                    " this organization have to be started; nothing was started."
                )
            uid = _uid(spec)
            inspected = self._found_or_made(engine, spec, uid=uid, facts=facts)
            self._adoptable(inspected, spec)
            wrong = profile.differences(inspected, profile.expected(spec, uid=uid, facts=facts))
            if wrong:
                self._delete(engine, inspected["Id"])
                sockets.discard(spec.socket_dir)
                raise ProfileMismatch(f"{spec.name} was not what was asked for and is removed: {'; '.join(wrong)}")
            if inspected["State"]["Status"] != "created":
                return self._container(inspected)
            self._start(engine, spec, inspected["Id"])
            started = _inspect(engine, spec.name)
            if started is None:
                raise RuntimeFailed(f"{spec.name} was removed while it was being started.")
            return self._container(started)

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching(), name_lock.held(name, under=self._socket_root):
            engine = self._engine()
            inspected = _inspect(engine, name)
            if inspected is None:
                # Somebody removed it by hand, and did not know of its directory.
                sockets.discard(sockets.directory_of(self._socket_root, name))
                return
            if (inspected["Config"]["Labels"] or {}).get(INSTANCE_LABEL) != self.instance:
                raise ContainerConflict(f"{name} does not belong to this instance; it stays.")
            self._end(engine, inspected, grace_seconds)
            fault.point("after_stop")
            # Before the container: were we to die between the two, the next call would still know where it is.
            for directory in _socket_dirs(inspected):
                sockets.discard(directory)
            self._stopped.pop(name, None)
            self._delete(engine, inspected["Id"])

    def list(self) -> tuple[Container, ...]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching():
            engine = self._engine()
            summaries = engine.containers(all=True, filters={"label": f"{INSTANCE_LABEL}={self.instance}"})
            found = [_inspect(engine, summary["Id"]) for summary in summaries]
            containers = [self._container(inspected) for inspected in found if inspected is not None]
            return tuple(sorted(containers, key=lambda container: container.name))

    def inspect(self, name: str) -> Container | None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching():
            inspected = self._ours(name)
            return None if inspected is None else self._container(inspected)

    def logs(self, name: str, *, tail: int = 200) -> str:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching():
            raw: bytes = self._engine().logs(self._present(name)["Id"], stdout=True, stderr=True, tail=tail)
            return raw.decode(errors="replace").rstrip("\n")

    def follow_logs(
        self, name: str, *, since: dt.datetime | None = None, tail: int | None = None
    ) -> Iterator[LogLine | None]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching():
            container_id = self._present(name)["Id"]
        return self._followed(container_id, since, tail)

    def _followed(self, container_id: str, since: dt.datetime | None, tail: int | None) -> Iterator[LogLine | None]:
        with _reaching():
            engine = self._engine()
            address = f"{engine.base_url}/v{engine.api_version}/containers/{container_id}/logs"
            patience = (self._call_seconds, docker_log.SILENCE_SECONDS)
            yield from docker_log.lines(
                lambda asked: engine.get(address, params=asked, stream=True, timeout=patience), since=since, tail=tail
            )

    def usage(self, name: str) -> Usage:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. An Engine on cgroup v2 knows no peak."""
        with _reaching():
            inspected = self._present(name)
            if inspected_container.status(inspected) == "exited":
                return Usage()
            stats: Document = self._engine().stats(inspected["Id"], stream=False, one_shot=True)
            return inspected_container.usage(stats)

    def clear_leftovers(self, *, older_than_seconds: float) -> tuple[Leftover, ...]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        removed = []
        with _reaching():
            engine = self._engine()
            mine = {"label": f"{INSTANCE_LABEL}={self.instance}"}
            now = time.time()
            for network in engine.networks(filters=mine):
                if now - inspected_container.age_mark(network["Created"]) >= older_than_seconds:
                    engine.remove_network(network["Id"])
                    removed.append(Leftover(kind="network", name=network["Name"]))
            for volume in engine.volumes(filters=mine)["Volumes"] or []:
                if now - inspected_container.age_mark(volume["CreatedAt"]) >= older_than_seconds:
                    engine.remove_volume(volume["Name"])
                    removed.append(Leftover(kind="volume", name=volume["Name"]))
        return tuple(removed)

    def pause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. The Engine pauses it once, the kernel after that."""
        with _reaching(), name_lock.held(name, under=self._socket_root):
            inspected = self._present(name)
            freezer = self._freezer(name, inspected)
            if inspected_container.status(inspected) == "paused" and freezer is not None:
                if not freezer.freeze():
                    raise RuntimeFailed(f"{name} could not be frozen.")
                return
            self._turn(inspected, to="paused")

    def unpause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. The Engine is not asked where the freezer is known."""
        freezer = self._freezers.get(name)
        if freezer is not None and freezer.thaw():
            return
        with _reaching(), name_lock.held(name, under=self._socket_root):
            inspected = self._present(name)
            freezer = self._freezer(name, inspected)
            if inspected_container.status(inspected) == "paused" and freezer is not None and freezer.thaw():
                return
            self._turn(inspected, to="running")

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching(), name_lock.held(name, under=self._socket_root):
            inspected = self._present(name)
            self._end(self._engine(), inspected, grace_seconds)
            self._prepare_again(inspected)
            self._stopped[name] = inspected

    def start(self, name: str) -> Container:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. It is what it was when it was made and compared: an
        Engine changes nothing of a container but its limits, and only when asked."""
        with _reaching(), name_lock.held(name, under=self._socket_root):
            engine = self._engine()
            if (known := self._stopped.pop(name, None)) is not None and self._started_again(engine, known):
                return self._container(self._present(name))
            inspected = self._present(name)
            match inspected_container.status(inspected):
                case "paused":
                    freezer = self._freezer(name, inspected)
                    if freezer is None or not freezer.thaw():
                        self._turn(inspected, to="running")
                case "exited" | "created":
                    self._prepare_again(inspected)
                    try:
                        engine.start(inspected["Id"])
                    except docker.errors.APIError as error:
                        raise StartFailed(f"The runner could not be started again: {error.explanation}") from error
                case _:
                    pass
            return self._container(self._present(name))

    def _started_again(self, engine: docker.APIClient, known: Document) -> bool:
        """By its id, which no other container can have. False where it is not as it was left: then it is asked for."""
        if not _is_as_left(known):
            return False
        try:
            engine.start(known["Id"])
        except docker.errors.APIError:
            return False
        return True

    def _prepare_again(self, inspected: Document) -> None:
        for directory in _socket_dirs(inspected):
            self._prepare(directory, uid=int(inspected["Config"]["User"].partition(":")[0]))

    def isolation(self, name: str) -> Isolation:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching():
            engine, inspected = self._engine(), self._present(name)
            return container_walls.of_container(
                inspected,
                host=engine_host.read(engine.info(), engine.version()),
                kernel=container_walls.KernelView.of(inspected["State"].get("Pid") or 0, inspected["Id"]),
            )

    def ping(self) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching():
            self._engine().ping()

    def _found_or_made(
        self, engine: docker.APIClient, spec: ContainerSpec, *, uid: int, facts: profile.EngineFacts
    ) -> Document:
        """The container of that name. A create that another worker died in takes the name before it can be seen."""
        deadline = time.monotonic() + self._call_seconds
        while time.monotonic() < deadline:
            try:
                image = self._image(engine, spec.engine)
            except ImageMissing:
                if (inspected := _inspect(engine, spec.name)) is not None:
                    return inspected
                raise
            # A runner that is there may listen already: its socket stays.
            self._prepare(spec.socket_dir, uid=uid, is_emptied=False)
            if is_made := self._create(engine, spec, uid=uid, facts=facts, image=image):
                sockets.path(spec.socket_dir).unlink(missing_ok=True)
            if (inspected := _inspect(engine, spec.name)) is not None:
                return inspected
            if not is_made:
                time.sleep(_LOOK_SECONDS)
        raise RuntimeFailed(f"The Docker Engine holds the name {spec.name} and shows no container of it.")

    def _prepare(self, socket_dir: Path, *, uid: int, is_emptied: bool = True) -> None:
        """A directory of the runner's own, and of a size, where we may give it away and the Engine sees our mounts."""
        scheme, _, engine = self._address.partition("://")
        is_bounded = scheme == "unix" and socket_mount.is_seen_by(Path(engine))
        owner = uid if os.getuid() == 0 else None
        sockets.prepare(socket_dir, uid=owner, is_bounded=is_bounded, is_emptied=is_emptied)

    def _create(
        self, engine: docker.APIClient, spec: ContainerSpec, *, uid: int, facts: profile.EngineFacts, image: Document
    ) -> bool:
        """Whether it was made; False where the name is taken."""
        wanted = profile.expected(spec, uid=uid, facts=facts)
        body = profile.create_body(wanted, image=image, labels=labels_of(spec, instance=self.instance))
        fault.point("before_create")
        try:
            engine.create_container_from_config(body, spec.name)  # type: ignore[no-untyped-call]
        except docker.errors.APIError as error:
            if error.status_code == 409:
                return False
            sockets.discard(spec.socket_dir)
            raise
        fault.point("after_create")
        return True

    def _start(self, engine: docker.APIClient, spec: ContainerSpec, container_id: str) -> None:
        try:
            engine.start(container_id)
        except docker.errors.APIError as error:
            self._delete(engine, container_id)
            sockets.discard(spec.socket_dir)
            raise StartFailed(f"The runner's program could not be started: {error.explanation}") from error
        fault.point("after_start")

    def _adoptable(self, inspected: Document, spec: ContainerSpec) -> None:
        labels = inspected["Config"]["Labels"] or {}
        if labels.get(INSTANCE_LABEL) != self.instance or labels.get(SPEC_LABEL) != spec.spec_hash:
            raise ContainerConflict(f"{spec.name} exists and was made from another specification.")

    def _end(self, engine: docker.APIClient, inspected: Document, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL; return when its process has ended."""
        if inspected_container.status(inspected) == "paused":
            # A frozen process receives no signal. One that was thawed without the Engine it cannot unpause, but stop.
            with contextlib.suppress(docker.errors.APIError):
                engine.unpause(inspected["Id"])
        self._freezers.pop(inspected["Name"].lstrip("/"), None)
        with contextlib.suppress(docker.errors.NotFound):
            engine.stop(inspected["Id"], timeout=max(0, round(grace_seconds)))

    def _delete(self, engine: docker.APIClient, container_id: str) -> None:
        """Gone when this returns, whoever else is removing it."""
        try:
            engine.remove_container(container_id, force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if error.status_code != 409:
                raise
            with contextlib.suppress(docker.errors.NotFound):
                engine.wait(container_id, timeout=self._call_seconds, condition="removed")

    def _turn(self, inspected: Document, *, to: Literal["paused", "running"]) -> None:
        status = inspected_container.status(inspected)
        if status == to:
            return
        if status not in {"running", "paused"}:
            raise ContainerMissing(f"{inspected['Name']} does not run.")
        try:
            if to == "paused":
                self._engine().pause(inspected["Id"])
            else:
                self._engine().unpause(inspected["Id"])
        except docker.errors.APIError:
            # Another caller may have done it in the meantime, which is what was asked for.
            if inspected_container.status(self._present(inspected["Id"])) != to:
                raise

    def _freezer(self, name: str, inspected: Document) -> Freezer | None:
        """Of a container that has a process, where it is ours to write to."""
        found = freezers.find(pid=inspected["State"].get("Pid") or 0, container_id=inspected["Id"])
        if found is None:
            self._freezers.pop(name, None)
        else:
            self._freezers[name] = found
        return found

    def _container(self, inspected: Document) -> Container:
        """As the kernel has it: the Engine believes a container that was thawed without it to be paused still."""
        container = inspected_container.container(inspected)
        if container.status != "paused":
            return container
        freezer = self._freezers.get(container.name) or self._freezer(container.name, inspected)
        is_thawed = freezer is not None and freezer.is_frozen() is False
        return dataclasses.replace(container, status="running") if is_thawed else container

    def _present(self, name: str) -> Document:
        inspected = self._ours(name)
        if inspected is None:
            raise ContainerMissing(f"There is no container {name}.")
        return inspected

    def _ours(self, name: str) -> Document | None:
        inspected = _inspect(self._engine(), name)
        if inspected is None or (inspected["Config"]["Labels"] or {}).get(INSTANCE_LABEL) != self.instance:
            return None
        return inspected

    def _image(self, engine: docker.APIClient, which: Engine) -> Document:
        try:
            image: Document = engine.inspect_image(self._images[which])  # type: ignore[no-untyped-call]
        except docker.errors.ImageNotFound as error:
            raise ImageMissing(
                f"The runner image {self._images[which]} is not on this node. Build or pull it."
            ) from error
        return image

    def _facts(self, engine: docker.APIClient) -> profile.EngineFacts:
        if self._known_facts is not None:
            return self._known_facts
        facts = engine_host.facts(engine.info(), api_version=engine.api_version)
        unfit = profile.weaknesses(facts)
        if unfit:
            raise ProfileMismatch(f"Nothing was started: {'; '.join(unfit)}.")
        self._known_facts = facts
        return facts

    def _engine(self) -> docker.APIClient:
        engine: docker.APIClient | None = getattr(self._local, "engine", None)
        if engine is None:
            engine = docker.APIClient(base_url=self._address, version="auto", timeout=self._call_seconds)
            self._local.engine = engine
        return engine


def _uid(spec: ContainerSpec) -> int:
    """Its own uid where we may give it away. Without root we could neither hand over the socket directory nor open a
    socket in it, so the runner is then ourselves, still without capabilities."""
    return profile.uid_of(spec.replica_id) if os.getuid() == 0 else os.getuid()


def _is_as_left(known: Document) -> bool:
    """Whether its socket's directory is there, and empty: it is neither removed nor started by another."""
    return all(directory.is_dir() and not sockets.path(directory).exists() for directory in _socket_dirs(known))


def _socket_dirs(inspected: Document) -> Iterator[Path]:
    return (Path(mount["Source"]) for mount in inspected["Mounts"] if mount["Destination"] == profile.SOCKET_DIR)


def _inspect(engine: docker.APIClient, name: str) -> Document | None:
    try:
        inspected: Document = engine.inspect_container(name)
    except docker.errors.NotFound:
        return None
    return inspected


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Docker's errors become ours here, and only here."""
    try:
        yield
    except docker.errors.APIError as error:
        raise RuntimeFailed(f"The Docker Engine refused: {error.explanation or error}") from error
    except (docker.errors.DockerException, OSError, urllib3.exceptions.HTTPError) as error:
        raise RuntimeUnreachable(f"The Docker Engine does not answer: {error}") from error
