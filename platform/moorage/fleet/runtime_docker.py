"""The container runtime of production: hardened containers on a Docker Engine. The only module that knows its SDK.

Every create body is built here from validated fields; no text of a tenant reaches a host setting. The Engine is asked
afterwards what it made, and anything but :func:`moorage.fleet.profile.expected` is removed before it has run.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import docker
import docker.errors
import urllib3.exceptions

from moorage.fleet import inspected_container, name_lock, profile, sockets
from moorage.fleet.engines import Engine, RunnerPaths
from moorage.fleet.errors import (
    ContainerConflict,
    ContainerMissing,
    ImageMissing,
    ProfileMismatch,
    RuntimeFailed,
    RuntimeUnreachable,
    StartFailed,
)
from moorage.fleet.runtime import (
    INSTANCE_LABEL,
    SPEC_LABEL,
    Container,
    ContainerSpec,
    labels_of,
)
from moorage.fleet.weights import model_path

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

        1. Look for the name; create it where there is none, with every setting explicit and every variable of the
           image's environment removed. What is there is adopted or refused.
        2. Ask the Engine what it made, compare, remove on any difference.
        3. Start.
        """
        with _reaching(), name_lock.held(spec.name, under=self._socket_root):
            engine = self._engine()
            facts = self._facts(engine)
            uid = _uid(spec)
            inspected = self._found_or_made(engine, spec, uid=uid, facts=facts)
            self._adoptable(inspected, spec)
            wrong = profile.differences(inspected, profile.expected(spec, uid=uid, facts=facts))
            if wrong:
                self._delete(engine, inspected["Id"])
                sockets.discard(spec.socket_dir)
                raise ProfileMismatch(f"{spec.name} was not what was asked for and is removed: {'; '.join(wrong)}")
            if inspected["State"]["Status"] != "created":
                return inspected_container.container(inspected)
            self._start(engine, spec, inspected["Id"])
            started = _inspect(engine, spec.name)
            if started is None:
                raise RuntimeFailed(f"{spec.name} was removed while it was being started.")
            return inspected_container.container(started)

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
            if inspected["State"]["Status"] == "paused":
                # A frozen process receives no signal.
                with contextlib.suppress(docker.errors.APIError):
                    engine.unpause(inspected["Id"])
            with contextlib.suppress(docker.errors.NotFound):
                engine.stop(inspected["Id"], timeout=max(0, round(grace_seconds)))
            # Before the container: were we to die between the two, the next call would still know where it is.
            for mount in inspected["Mounts"]:
                if mount["Destination"] == profile.SOCKET_DIR:
                    sockets.discard(Path(mount["Source"]))
            self._delete(engine, inspected["Id"])

    def list(self) -> tuple[Container, ...]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching():
            engine = self._engine()
            summaries = engine.containers(all=True, filters={"label": f"{INSTANCE_LABEL}={self.instance}"})
            found = [_inspect(engine, summary["Id"]) for summary in summaries]
            containers = [inspected_container.container(inspected) for inspected in found if inspected is not None]
            return tuple(sorted(containers, key=lambda container: container.name))

    def inspect(self, name: str) -> Container | None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching():
            inspected = self._ours(name)
            return None if inspected is None else inspected_container.container(inspected)

    def logs(self, name: str, *, tail: int = 200) -> str:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with _reaching():
            raw: bytes = self._engine().logs(self._present(name)["Id"], stdout=True, stderr=True, tail=tail)
            return raw.decode(errors="replace").rstrip("\n")

    def pause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        self._turn(name, to="paused")

    def unpause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        self._turn(name, to="running")

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
            inspected = _inspect(engine, spec.name)
            if inspected is not None:
                return inspected
            image = self._image(engine, spec.engine)
            sockets.prepare(spec.socket_dir, uid=uid if os.getuid() == 0 else None)
            if not self._create(engine, spec, uid=uid, facts=facts, image=image):
                time.sleep(_LOOK_SECONDS)
        raise RuntimeFailed(f"The Docker Engine holds the name {spec.name} and shows no container of it.")

    def _create(
        self, engine: docker.APIClient, spec: ContainerSpec, *, uid: int, facts: profile.EngineFacts, image: Document
    ) -> bool:
        """Whether it was made; False where the name is taken."""
        wanted = profile.expected(spec, uid=uid, facts=facts)
        body = profile.create_body(wanted, image=image, labels=labels_of(spec, instance=self.instance))
        try:
            engine.create_container_from_config(body, spec.name)  # type: ignore[no-untyped-call]
        except docker.errors.APIError as error:
            if error.status_code == 409:
                return False
            sockets.discard(spec.socket_dir)
            raise
        return True

    def _start(self, engine: docker.APIClient, spec: ContainerSpec, container_id: str) -> None:
        try:
            engine.start(container_id)
        except docker.errors.APIError as error:
            self._delete(engine, container_id)
            sockets.discard(spec.socket_dir)
            raise StartFailed(f"The runner's program could not be started: {error.explanation}") from error

    def _adoptable(self, inspected: Document, spec: ContainerSpec) -> None:
        labels = inspected["Config"]["Labels"] or {}
        if labels.get(INSTANCE_LABEL) != self.instance or labels.get(SPEC_LABEL) != spec.spec_hash:
            raise ContainerConflict(f"{spec.name} exists and was made from another specification.")

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

    def _turn(self, name: str, *, to: Literal["paused", "running"]) -> None:
        with _reaching():
            inspected = self._present(name)
            status = inspected_container.status(inspected)
            if status == to:
                return
            if status not in {"running", "paused"}:
                raise ContainerMissing(f"{name} does not run.")
            try:
                if to == "paused":
                    self._engine().pause(inspected["Id"])
                else:
                    self._engine().unpause(inspected["Id"])
            except docker.errors.APIError:
                # Another caller may have done it in the meantime, which is what was asked for.
                if inspected_container.status(self._present(name)) != to:
                    raise

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
        known: profile.EngineFacts | None = getattr(self._local, "facts", None)
        if known is not None:
            return known
        info = engine.info()
        options = [dict(part.split("=", 1) for part in line.split(",")) for line in info.get("SecurityOptions") or []]
        seccomp = next((each.get("profile", "default") for each in options if each.get("name") == "seccomp"), "")
        api = tuple(int(part) for part in engine.api_version.split("."))
        facts = profile.EngineFacts(
            has_swap_limit=bool(info.get("SwapLimit")), has_private_cgroup=api >= (1, 41), seccomp=seccomp
        )
        unfit = profile.weaknesses(facts)
        if unfit:
            raise ProfileMismatch(f"Nothing was started: {'; '.join(unfit)}.")
        self._local.facts = facts
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
