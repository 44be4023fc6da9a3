"""Small stand-in runners, and the runtimes that the fleet's tests start them in."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

from moorage.fleet import sockets
from moorage.fleet.engines import Engine
from moorage.fleet.runtime import ContainerRuntime, ContainerSpec, container_name
from moorage.kernel import ids

#: Says ahoy, then runs until a file named `end` with an exit code in it appears beside its socket.
UNTIL_TOLD = 'echo ahoy; while [ ! -s "$0/end" ]; do sleep 0.05; done; exit "$(cat "$0/end")"'
#: Runs on whatever anybody says, and has a child that does too.
STUBBORN = "trap '' TERM; (trap '' TERM; while :; do sleep 0.05; done) & echo stubborn; while :; do sleep 0.05; done"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Harness:
    """One runtime under test, and what a test needs to play with it."""

    runtime: ContainerRuntime
    root: Path
    again: Callable[[], ContainerRuntime]  #: the same runtime, as another worker opens it
    stranger: Callable[[], ContainerRuntime]  #: the same place, as another instance opens it
    unreachable: Callable[[], ContainerRuntime]
    end: Callable[[ContainerSpec, int], None]  #: let the runner end by itself with this exit code
    instance: str

    def spec(self, *, script: str = UNTIL_TOLD, replica_id: str | None = None, **changes: object) -> ContainerSpec:
        """A container that runs ``script``, whose ``$0`` is the directory of its socket."""
        replica = replica_id or ids.new("rep")
        epoch = 1
        model_dir = self.root / "model"
        model_dir.mkdir(exist_ok=True)
        socket_dir = sockets.directory(self.root / "s", replica_id=replica, epoch=epoch)
        seen = self.runtime.runner_paths(model_dir=model_dir, socket_dir=socket_dir, engine=Engine.LLAMACPP)
        chosen: dict[str, object] = {
            "name": container_name(instance=self.instance, replica_id=replica, epoch=epoch),
            "replica_id": replica,
            "organization_id": ids.new("org"),
            "epoch": epoch,
            "engine": Engine.LLAMACPP,
            "argv": ("/bin/sh", "-c", script, os.path.dirname(seen.socket)),
            "environment": (("PATH", "/usr/bin:/bin"), ("HOME", seen.home)),
            "model_dir": model_dir,
            "socket_dir": socket_dir,
            "memory_bytes": 64 * 1024 * 1024,
            "cpu_millis": 500,
            "pids_limit": 32,
        }
        return ContainerSpec(**(chosen | changes))  # type: ignore[arg-type]


def write_end(spec: ContainerSpec, exit_code: int) -> None:
    """Tell an UNTIL_TOLD runner to end. Written whole or not at all."""
    fresh = spec.socket_dir / "end.new"
    fresh.write_text(str(exit_code))
    fresh.chmod(0o644)
    fresh.rename(spec.socket_dir / "end")
