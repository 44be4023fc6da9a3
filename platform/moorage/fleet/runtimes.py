"""Which container runtime this instance has been given, and who may reach it: the provisioning worker alone.

Who can reach a Docker Engine is root on its host. Console, REST, gateway and the other workers are given neither its
address nor MOORAGE_HOLDS_RUNTIME, and a line of code that asks for the runtime there all the same is refused here.
"""

import functools
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from moorage.fleet.engines import Engine
from moorage.fleet.errors import NotTheProvisioner
from moorage.fleet.runtime import ContainerRuntime
from moorage.fleet.runtime_docker import DockerRuntime
from moorage.fleet.runtime_memory import MemoryRuntime
from moorage.fleet.runtime_process import ProcessRuntime


def configured() -> ContainerRuntime:
    """The runtime that MOORAGE_RUNTIME names; one object a process.

    Raises NotTheProvisioner in every process but the provisioning worker, ImproperlyConfigured for an unknown name.
    """
    if not settings.MOORAGE_HOLDS_RUNTIME:
        raise NotTheProvisioner
    return of_operator()


def of_operator() -> ContainerRuntime:
    """The same, for the commands that an operator runs by hand, with the rights of a person at the machine."""
    match settings.MOORAGE_RUNTIME:
        case "docker":
            return _docker(
                settings.MOORAGE_INSTANCE,
                settings.DOCKER_HOST,
                settings.MOORAGE_LLAMACPP_IMAGE,
                settings.MOORAGE_VLLM_IMAGE,
                settings.MOORAGE_SOCKET_DIR,
            )
        case "process":
            return _process(
                settings.MOORAGE_INSTANCE,
                settings.MOORAGE_HOME,
                settings.MOORAGE_LLAMA_SERVER,
                settings.MOORAGE_VLLM_PYTHON,
            )
        case "memory":
            return _memory(settings.MOORAGE_INSTANCE)
        case other:
            raise ImproperlyConfigured(f"MOORAGE_RUNTIME must be docker, process or memory, not {other!r}.")


@functools.lru_cache
def _docker(instance: str, address: str | None, llamacpp: str, vllm: str, socket_root: Path) -> ContainerRuntime:
    images = {Engine.LLAMACPP: llamacpp, Engine.VLLM: vllm}
    return DockerRuntime(instance=instance, images=images, address=address, socket_root=socket_root)


@functools.lru_cache
def _process(instance: str, home: Path, llama_server: str | None, vllm_python: str | None) -> ContainerRuntime:
    directory = home / "run" / "processes"
    return ProcessRuntime(instance=instance, directory=directory, llama_server=llama_server, vllm_python=vllm_python)


@functools.lru_cache
def _memory(instance: str) -> ContainerRuntime:
    return MemoryRuntime(instance=instance)
