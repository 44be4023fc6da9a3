"""What Moorage asks of a Docker Engine, call by call: documents go in and come out, as the Engine's API has them.

The calls raise RuntimeFailed where the Engine refuses and RuntimeUnreachable where it does not answer; what else they
promise stands with each. :mod:`moorage.fleet.runtime_docker` makes them with Docker's SDK.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

Document = dict[str, Any]


class EngineCalls(Protocol):
    """One Engine. May be called from any thread."""

    def reaching(self) -> AbstractContextManager[None]:
        """What fails in the block on the way to the Engine (SDK, socket, file) leaves it as an error of ours."""

    def ping(self) -> None:
        """Raises where it does not answer."""

    def info(self) -> Document:
        """``GET /info``."""

    def version(self) -> Document:
        """``GET /version``."""

    def api_version(self) -> str:
        """The version of the API that is spoken."""

    def inspect(self, name: str) -> Document | None:
        """``GET /containers/{name or id}/json``; None where there is none."""

    def image(self, name: str) -> Document | None:
        """``GET /images/{name}/json``; None where there is none."""

    def ids(self, *, label: str) -> list[str]:
        """Of all containers with that label, whatever they do."""

    def create(self, name: str, body: Mapping[str, Any]) -> bool:
        """Whether it was made; False where the name is taken."""

    def start(self, container_id: str) -> str | None:
        """None where it runs now; else why not."""

    def stop(self, container_id: str, *, grace_seconds: int) -> None:
        """SIGTERM, then SIGKILL; return when it has ended, or where there is none."""

    def pause(self, container_id: str) -> None:
        """Freeze it."""

    def unpause(self, container_id: str) -> None:
        """Let it run on."""

    def remove(self, container_id: str) -> None:
        """Gone when this returns, whoever else is removing it."""

    def stats(self, container_id: str) -> Document:
        """``GET /containers/{id}/stats``, once."""

    def log(self, container_id: str, *, tail: int) -> bytes:
        """Its last lines."""

    def log_stream(self, container_id: str, *, silence_seconds: float) -> Callable[[Mapping[str, Any]], Any]:
        """Opens ``GET /containers/{id}/logs`` with those parameters, as a response that is read while it comes."""

    def networks(self, *, label: str) -> list[Document]:
        """With that label."""

    def volumes(self, *, label: str) -> list[Document]:
        """With that label."""

    def remove_network(self, network_id: str) -> None:
        """It goes."""

    def remove_volume(self, name: str) -> None:
        """It goes."""
