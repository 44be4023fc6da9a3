"""The freezers of the containers of one worker, found once and kept: a wake has no time to look for one."""

import dataclasses
from typing import Final

from moorage.fleet import freezer, inspected_container
from moorage.fleet.engine_calls import Document
from moorage.fleet.freezer import Freezer
from moorage.fleet.runtime import Container


class ContainerFreezers:
    """By the containers' names."""

    def __init__(self) -> None:
        self._known: Final[dict[str, Freezer]] = {}

    def known(self, name: str) -> Freezer | None:
        """That of a container of which it was found before."""
        return self._known.get(name)

    def forget(self, name: str) -> None:
        """The container ends, and its freezer with it."""
        self._known.pop(name, None)

    def find(self, name: str, inspected: Document) -> Freezer | None:
        """Of a container that has a process, where it is ours to write to."""
        found = freezer.find(pid=inspected["State"].get("Pid") or 0, container_id=inspected["Id"])
        if found is None:
            self._known.pop(name, None)
        else:
            self._known[name] = found
        return found

    def container(self, inspected: Document) -> Container:
        """As the kernel has it: the Engine believes a container that was thawed without it to be paused still."""
        container = inspected_container.container(inspected)
        if container.status != "paused":
            return container
        found = self._known.get(container.name) or self.find(container.name, inspected)
        is_thawed = found is not None and found.is_frozen() is False
        return dataclasses.replace(container, status="running") if is_thawed else container
