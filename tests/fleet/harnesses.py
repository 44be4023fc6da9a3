"""Builds a harness for each container runtime."""

import secrets
from pathlib import Path

from moorage.fleet.engines import Engine
from moorage.fleet.runtime import ContainerRuntime, ContainerSpec
from moorage.fleet.runtime_docker import DockerRuntime
from moorage.fleet.runtime_memory import MemoryRuntime
from moorage.fleet.runtime_process import ProcessRuntime
from tests.fleet.runners import Harness, write_end


def memory(root: Path) -> Harness:
    """In memory."""
    instance = _instance()
    runtime = MemoryRuntime(instance=instance)

    def unreachable() -> ContainerRuntime:
        runtime.is_reachable = False
        return runtime

    def end(spec: ContainerSpec, exit_code: int) -> None:
        runtime.crash(spec.name, exit_code=exit_code)

    return Harness(
        runtime=runtime,
        root=root,
        again=lambda: runtime,
        stranger=lambda: MemoryRuntime(instance=_instance()),
        unreachable=unreachable,
        end=end,
        instance=instance,
    )


def process(root: Path, *, llama_server: Path | None = None, vllm_python: Path | None = None) -> Harness:
    """Local processes."""
    instance = _instance()

    def opened(instance: str = instance, directory: Path = root / "processes") -> ContainerRuntime:
        return ProcessRuntime(
            instance=instance,
            directory=directory,
            llama_server=str(llama_server or "/bin/sh"),
            vllm_python=str(vllm_python) if vllm_python else None,
        )

    def unreachable() -> ContainerRuntime:
        blocked = root / "blocked"
        blocked.write_text("a file where a directory should be")
        return opened(directory=blocked)

    return Harness(
        runtime=opened(),
        root=root,
        again=opened,
        stranger=lambda: opened(instance=_instance()),
        unreachable=unreachable,
        end=write_end,
        instance=instance,
    )


def docker(root: Path, *, address: str, images: dict[Engine, str]) -> Harness:
    """Containers on a Docker Engine."""
    instance = _instance()

    def opened(instance: str = instance, address: str = address) -> ContainerRuntime:
        return DockerRuntime(instance=instance, images=images, address=address, socket_root=root / "s", call_seconds=20)

    return Harness(
        runtime=opened(),
        root=root,
        again=opened,
        stranger=lambda: opened(instance=_instance()),
        unreachable=lambda: opened(address=f"unix://{root}/nobody.sock"),
        end=write_end,
        instance=instance,
    )


def clear(harness: Harness) -> None:
    """Remove what a test left."""
    runtime = harness.again()
    if isinstance(runtime, MemoryRuntime):
        runtime.is_reachable = True
    for container in runtime.list():
        runtime.remove(container.name, grace_seconds=0)


def _instance() -> str:
    return f"t{secrets.token_hex(4)}"
