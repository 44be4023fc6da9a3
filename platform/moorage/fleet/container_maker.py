"""How a container comes to be on a Docker Engine: made from a specification, compared with it, and only then started.

Every create body is built here from validated fields; no text of a tenant reaches a host setting. The Engine is asked
afterwards what it made, and anything but :func:`moorage.fleet.profile.expected` is removed before it has run.
"""

import time
from collections.abc import Mapping
from typing import Final

from moorage.fleet import engine_host, profile, runner_directories, sockets
from moorage.fleet.engine_calls import Document, EngineCalls
from moorage.fleet.engines import Engine
from moorage.fleet.errors import (
    ContainerConflict,
    ImageMissing,
    ProfileMismatch,
    RuntimeClassMissing,
    RuntimeFailed,
    StartFailed,
)
from moorage.fleet.runtime import INSTANCE_LABEL, SPEC_LABEL, ContainerSpec, labels_of
from moorage.kernel import fault

_LOOK_SECONDS: Final = 0.05


class ContainerMaker:
    """Makes containers of one instance on the Engine behind ``engine``, which listens at ``address``."""

    def __init__(
        self, *, instance: str, images: Mapping[Engine, str], engine: EngineCalls, address: str, call_seconds: int
    ) -> None:
        self._instance = instance
        self._images = dict(images)
        self._engine, self._address = engine, address
        self._call_seconds = call_seconds
        self._known_facts: profile.EngineFacts | None = None

    def made(self, spec: ContainerSpec) -> Document:
        """The Engine's answer about the container of ``spec``, which has been started. Whoever calls it holds the
        container's name. Raises what :meth:`moorage.fleet.runtime.ContainerRuntime.ensure` does. In steps:

        1. Create it, with every setting explicit and every variable of the image's environment removed. Where the name
           is taken, what is there is adopted or refused.
        2. Ask the Engine what it made, compare, remove on any difference.
        3. Start.
        """
        facts = self._facts()
        if spec.container_runtime not in facts.runtimes:
            raise RuntimeClassMissing(
                f"The Docker Engine has no container runtime {spec.container_runtime!r}, with which containers of"
                " this organization have to be started; nothing was started."
            )
        uid = runner_directories.uid_of(spec)
        inspected = self._found_or_made(spec, uid=uid, facts=facts)
        self._adoptable(inspected, spec)
        wrong = profile.differences(inspected, profile.expected(spec, uid=uid, facts=facts))
        if wrong:
            self._engine.remove(inspected["Id"])
            sockets.discard(spec.socket_dir)
            raise ProfileMismatch(f"{spec.name} was not what was asked for and is removed: {'; '.join(wrong)}")
        if inspected["State"]["Status"] != "created":
            return inspected
        self._start(spec, inspected["Id"])
        started = self._engine.inspect(spec.name)
        if started is None:
            raise RuntimeFailed(f"{spec.name} was removed while it was being started.")
        return started

    def _found_or_made(self, spec: ContainerSpec, *, uid: int, facts: profile.EngineFacts) -> Document:
        """The container of that name. A create that another worker died in takes the name before it can be seen."""
        deadline = time.monotonic() + self._call_seconds
        while time.monotonic() < deadline:
            try:
                image = self._image(spec.engine)
            except ImageMissing:
                if (inspected := self._engine.inspect(spec.name)) is not None:
                    return inspected
                raise
            # A runner that is there may listen already: its socket stays.
            runner_directories.prepare(spec.socket_dir, uid=uid, engine=self._address, is_emptied=False)
            if is_made := self._create(spec, uid=uid, facts=facts, image=image):
                sockets.path(spec.socket_dir).unlink(missing_ok=True)
            if (inspected := self._engine.inspect(spec.name)) is not None:
                return inspected
            if not is_made:
                time.sleep(_LOOK_SECONDS)
        raise RuntimeFailed(f"The Docker Engine holds the name {spec.name} and shows no container of it.")

    def _create(self, spec: ContainerSpec, *, uid: int, facts: profile.EngineFacts, image: Document) -> bool:
        """Whether it was made; False where the name is taken."""
        wanted = profile.expected(spec, uid=uid, facts=facts)
        body = profile.create_body(wanted, image=image, labels=labels_of(spec, instance=self._instance))
        fault.point("before_create")
        try:
            if not self._engine.create(spec.name, body):
                return False
        except RuntimeFailed:
            sockets.discard(spec.socket_dir)
            raise
        fault.point("after_create")
        return True

    def _start(self, spec: ContainerSpec, container_id: str) -> None:
        if (why := self._engine.start(container_id)) is not None:
            self._engine.remove(container_id)
            sockets.discard(spec.socket_dir)
            raise StartFailed(f"The runner's program could not be started: {why}")
        fault.point("after_start")

    def _adoptable(self, inspected: Document, spec: ContainerSpec) -> None:
        labels = inspected["Config"]["Labels"] or {}
        if labels.get(INSTANCE_LABEL) != self._instance or labels.get(SPEC_LABEL) != spec.spec_hash:
            raise ContainerConflict(f"{spec.name} exists and was made from another specification.")

    def _image(self, which: Engine) -> Document:
        image = self._engine.image(self._images[which])
        if image is None:
            raise ImageMissing(f"The runner image {self._images[which]} is not on this node. Build or pull it.")
        return image

    def _facts(self) -> profile.EngineFacts:
        if self._known_facts is not None:
            return self._known_facts
        facts = engine_host.facts(self._engine.info(), api_version=self._engine.api_version())
        unfit = profile.weaknesses(facts)
        if unfit:
            raise ProfileMismatch(f"Nothing was started: {'; '.join(unfit)}.")
        self._known_facts = facts
        return facts
