"""The container runtime of production: hardened containers on a Docker Engine. The only module that knows its SDK.

What is done with the calls, and in which order, stands in :mod:`moorage.fleet.docker_containers`.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import docker
import docker.errors
import urllib3.exceptions

from moorage.fleet.docker_containers import DockerContainers
from moorage.fleet.engine_calls import Document
from moorage.fleet.engines import Engine
from moorage.fleet.errors import RuntimeFailed, RuntimeUnreachable

#: One call of the Engine. `stop` adds its own grace to it.
CALL_SECONDS: Final = 30


class DockerRuntime(DockerContainers):
    """Runners as containers of one instance on the Engine at ``address`` (None: Docker's usual socket)."""

    def __init__(
        self,
        *,
        instance: str,
        images: Mapping[Engine, str],
        socket_root: Path,
        address: str | None = None,
        call_seconds: int = CALL_SECONDS,
    ) -> None:
        at = address or "unix:///var/run/docker.sock"
        super().__init__(
            instance=instance,
            images=images,
            socket_root=socket_root,
            engine=_Calls(at, call_seconds),
            address=at,
            call_seconds=call_seconds,
        )


class _Calls:
    """See :class:`moorage.fleet.engine_calls.EngineCalls`."""

    def __init__(self, address: str, call_seconds: int) -> None:
        self._address, self._call_seconds = address, call_seconds
        # The SDK's session is not made to be shared among threads.
        self._local = threading.local()

    def reaching(self) -> AbstractContextManager[None]:
        return _reaching()

    def ping(self) -> None:
        with _reaching():
            self._sdk().ping()

    def info(self) -> Document:
        with _reaching():
            found: Document = self._sdk().info()
            return found

    def version(self) -> Document:
        with _reaching():
            found: Document = self._sdk().version()
            return found

    def api_version(self) -> str:
        with _reaching():
            return str(self._sdk().api_version)

    def inspect(self, name: str) -> Document | None:
        with _reaching():
            try:
                inspected: Document = self._sdk().inspect_container(name)
            except docker.errors.NotFound:
                return None
            return inspected

    def image(self, name: str) -> Document | None:
        with _reaching():
            try:
                image: Document = self._sdk().inspect_image(name)  # type: ignore[no-untyped-call]
            except docker.errors.ImageNotFound:
                return None
            return image

    def ids(self, *, label: str) -> list[str]:
        with _reaching():
            return [summary["Id"] for summary in self._sdk().containers(all=True, filters={"label": label})]

    def create(self, name: str, body: Mapping[str, Any]) -> bool:
        with _reaching():
            try:
                self._sdk().create_container_from_config(body, name)  # type: ignore[no-untyped-call]
            except docker.errors.APIError as error:
                if error.status_code == 409:
                    return False
                raise
            return True

    def start(self, container_id: str) -> str | None:
        with _reaching():
            try:
                self._sdk().start(container_id)
            except docker.errors.APIError as error:
                return str(error.explanation)
            return None

    def stop(self, container_id: str, *, grace_seconds: int) -> None:
        with _reaching(), contextlib.suppress(docker.errors.NotFound):
            self._sdk().stop(container_id, timeout=grace_seconds)

    def pause(self, container_id: str) -> None:
        with _reaching():
            self._sdk().pause(container_id)

    def unpause(self, container_id: str) -> None:
        with _reaching():
            self._sdk().unpause(container_id)

    def remove(self, container_id: str) -> None:
        with _reaching():
            engine = self._sdk()
            try:
                engine.remove_container(container_id, force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != 409:
                    raise
                with contextlib.suppress(docker.errors.NotFound):
                    engine.wait(container_id, timeout=self._call_seconds, condition="removed")

    def stats(self, container_id: str) -> Document:
        with _reaching():
            stats: Document = self._sdk().stats(container_id, stream=False, one_shot=True)
            return stats

    def log(self, container_id: str, *, tail: int) -> bytes:
        with _reaching():
            raw: bytes = self._sdk().logs(container_id, stdout=True, stderr=True, tail=tail)
            return raw

    def log_stream(self, container_id: str, *, silence_seconds: float) -> Callable[[Mapping[str, Any]], Any]:
        engine = self._sdk()
        address = f"{engine.base_url}/v{engine.api_version}/containers/{container_id}/logs"
        patience = (self._call_seconds, silence_seconds)
        return lambda asked: engine.get(address, params=asked, stream=True, timeout=patience)

    def networks(self, *, label: str) -> list[Document]:
        with _reaching():
            return list(self._sdk().networks(filters={"label": label}))

    def volumes(self, *, label: str) -> list[Document]:
        with _reaching():
            return list(self._sdk().volumes(filters={"label": label})["Volumes"] or [])

    def remove_network(self, network_id: str) -> None:
        with _reaching():
            self._sdk().remove_network(network_id)

    def remove_volume(self, name: str) -> None:
        with _reaching():
            self._sdk().remove_volume(name)

    def _sdk(self) -> docker.APIClient:
        engine: docker.APIClient | None = getattr(self._local, "engine", None)
        if engine is None:
            engine = docker.APIClient(base_url=self._address, version="auto", timeout=self._call_seconds)
            self._local.engine = engine
        return engine


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Docker's errors become ours here, and only here."""
    try:
        yield
    except docker.errors.APIError as error:
        raise RuntimeFailed(f"The Docker Engine refused: {error.explanation or error}") from error
    except (docker.errors.DockerException, OSError, urllib3.exceptions.HTTPError) as error:
        raise RuntimeUnreachable(f"The Docker Engine does not answer: {error}") from error
