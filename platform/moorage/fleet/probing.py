"""Runs the probe inside a runner, in a container that is a replica's in everything but its argument list."""

import dataclasses
import time
from pathlib import Path
from typing import Final

from moorage.fleet import engines, inside_probe, sockets
from moorage.fleet.engines import Engine, EngineSettings
from moorage.fleet.inside_probe import Machine, Report
from moorage.fleet.models import Node, NodeProbe
from moorage.fleet.runtime import ContainerRuntime, ContainerSpec, container_name
from moorage.kernel import clock, ids

GIB: Final = 1024**3
_EPOCH: Final = 1
_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.2
#: llama-server and vLLM, as small as they are run.
_MEMORY: Final = {Engine.LLAMACPP: GIB, Engine.VLLM: 4 * GIB}


def replica_spec(
    engine: Engine,
    *,
    runtime: ContainerRuntime,
    instance: str,
    socket_root: Path,
    model_dir: Path,
    container_runtime: str = "runc",
    device_ids: tuple[str, ...] = (),
) -> ContainerSpec:
    """The container of a replica of ``engine`` that serves ``model_dir``, made as a replica's is."""
    replica_id = ids.new("rep")
    socket_dir = sockets.directory(socket_root, replica_id=replica_id, epoch=_EPOCH)
    command = engines.command(
        engine,
        paths=runtime.runner_paths(model_dir=model_dir, socket_dir=socket_dir, engine=engine),
        settings=EngineSettings(
            served_name="probe",
            context_size=256,
            parallel=1,
            cpu_threads=1,
            memory_bytes=_MEMORY[engine],
            devices=device_ids,
        ),
    )
    return ContainerSpec(
        name=container_name(instance=instance, replica_id=replica_id, epoch=_EPOCH),
        replica_id=replica_id,
        organization_id=ids.new("org"),
        epoch=_EPOCH,
        engine=engine,
        argv=command.argv,
        environment=command.environment,
        model_dir=model_dir,
        socket_dir=socket_dir,
        memory_bytes=_MEMORY[engine],
        cpu_millis=1000,
        device_ids=device_ids,
        container_runtime=container_runtime,
    )


def look(
    spec: ContainerSpec, *, runtime: ContainerRuntime, machine: Machine | None = None, hold_seconds: int = 0
) -> Report:
    """Run the probe in the place of ``spec``'s engine, wait for its end, remove it. FleetError where it cannot run."""
    probe = dataclasses.replace(
        spec, argv=inside_probe.argv(spec, machine=machine or Machine(), hold_seconds=hold_seconds)
    )
    runtime.ensure(probe)
    try:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            found = runtime.inspect(probe.name)
            if found is None or found.status == "exited":
                break
            time.sleep(_LOOK_SECONDS)
        return inside_probe.read(runtime.logs(probe.name, tail=1000).splitlines())
    finally:
        runtime.remove(probe.name, grace_seconds=0)


def keep(report: Report, *, node: Node, engine: Engine, container_runtime: str) -> NodeProbe:
    """Store what was found; the last one of each engine and container runtime on a node is kept."""
    kept, _ = NodeProbe.objects.update_or_create(
        node=node,
        engine=engine.value,
        container_runtime=container_runtime,
        defaults={"is_closed": report.is_closed, "document": report.document(), "taken_at": clock.now()},
    )
    return kept
