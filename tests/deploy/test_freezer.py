"""What the provisioning worker of deploy/compose.yaml may do to the kernel's freezer, in a container of that kind."""

from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.deploy.test_compose import DEPLOY, PROVISIONER, SERVICES

pytestmark = [pytest.mark.docker, pytest.mark.vllm]

WORKER = SERVICES[PROVISIONER]
THAW = """
from moorage.fleet import freezer
found = freezer.find(pid={pid}, container_id={id!r})
print("not found" if found is None else [found.is_frozen(), found.thaw(), found.is_frozen()])
"""


@pytest.fixture
def engine(docker_host: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_host, timeout=60)
    yield client
    client.close()


@pytest.fixture
def frozen(engine: docker.DockerClient, vllm_image: str) -> Iterator[Any]:
    """A container that the Engine has paused."""
    container = engine.containers.run(vllm_image, ["300"], entrypoint="sleep", network_mode="none", detach=True)
    container.pause()
    container.reload()
    yield container
    container.remove(force=True)


def in_the_workers_container(
    engine: docker.DockerClient, image: str, program: str, *, mounts: dict[str, dict[str, str]]
) -> str:
    """What the program prints with the worker's user, capabilities and root."""
    code = {str(DEPLOY.parent / "platform"): {"bind": "/platform", "mode": "ro"}}
    printed: bytes = engine.containers.run(
        image,
        ["-c", program],
        entrypoint="python3",
        user=WORKER["user"],
        cap_drop=WORKER["cap_drop"],
        cap_add=WORKER["cap_add"],
        security_opt=WORKER["security_opt"],
        read_only=WORKER["read_only"],
        network_mode="none",
        environment={"PYTHONPATH": "/platform", "PYTHONDONTWRITEBYTECODE": "1"},
        volumes={**code, **mounts},
        remove=True,
    )
    return printed.decode().strip()


def test_the_worker_wakes_what_the_engine_has_paused(engine: docker.DockerClient, vllm_image: str, frozen: Any) -> None:
    mounted = {
        each["source"]: {"bind": each["target"], "mode": "rw"}
        for each in WORKER["volumes"]
        if isinstance(each, dict) and each["source"].startswith("/sys/")
    }
    program = THAW.format(pid=frozen.attrs["State"]["Pid"], id=frozen.id)

    without = in_the_workers_container(engine, vllm_image, program, mounts={})
    found = in_the_workers_container(engine, vllm_image, program, mounts=mounted)

    assert without == "not found"
    assert found == "[True, True, False]"
