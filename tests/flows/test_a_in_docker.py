"""Flow A again, with the engines in hardened containers on a real Docker Engine, and what only Docker shows."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from moorage.deployments.models import Replica, ReplicaStatus
from tests.flows.stack import Stack
from tests.flows.test_a_compose_to_ready import (
    COMPOSE,
    test_a_compose_file_becomes_an_endpoint_that_answers,
    test_a_killed_engine_is_replaced,
    test_what_is_deleted_leaves_nothing,
)

__all__ = [
    "test_a_compose_file_becomes_an_endpoint_that_answers",
    "test_a_killed_engine_is_replaced",
    "test_what_is_deleted_leaves_nothing",
]

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def runtime(docker_host: str, llamacpp_image: str) -> dict[str, str]:
    """Engines in containers."""
    return {
        "MOORAGE_RUNTIME": "docker",
        "DOCKER_HOST": docker_host,
        "MOORAGE_LLAMACPP_IMAGE": llamacpp_image,
    }


@pytest.fixture(scope="module")
def engine(docker_host: str) -> Iterator[docker.DockerClient]:
    """The Docker Engine, for looking and for violence."""
    client = docker.DockerClient(base_url=docker_host, timeout=30)
    yield client
    client.close()


@pytest.fixture
def kill_engine(engine: docker.DockerClient) -> Callable[[Replica], None]:
    """Ends a replica's container as an operator's `docker kill` would."""

    def kill(replica: Replica) -> None:
        engine.containers.get(replica.container_name).kill()

    return kill


@pytest.fixture
def replica(secret: str, stack: Stack) -> Replica:
    """A ready one."""
    with stack.api(secret) as api:
        put = api.put("/deployments/demo", params={"wait": "ready"}, content=COMPOSE)
        assert put.status_code == 200, put.text
    return Replica.objects.get(status=ReplicaStatus.READY)


def test_a_runner_reaches_nothing_and_may_do_nothing(replica: Replica, engine: docker.DockerClient) -> None:
    container = engine.containers.get(replica.container_name)
    others = [int(user.split(":")[0]) for user in _users(engine) if user]

    seen: dict[str, Any] = container.attrs
    host = seen["HostConfig"]

    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    no_new, calls, *others_still = host["SecurityOpt"]
    assert no_new == "no-new-privileges:true" and not [one for one in others_still if not one.startswith("apparmor=")]
    assert json.loads(calls.removeprefix("seccomp="))["defaultAction"] == "SCMP_ACT_ERRNO"
    assert not host["Privileged"]
    assert host["PidsLimit"] > 0
    assert host["Memory"] > 0
    if os.getuid() == 0:
        assert int(seen["Config"]["User"].split(":")[0]) >= 1_000_000_000
        assert len(others) == len(set(others)), "two runners share a user id"
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{_runner_pid(container)}/status").read_text().splitlines()
    )
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapBnd"], 16) == 0
    assert int(status["NoNewPrivs"]) == 1
    assert int(status["Seccomp"]) == 2
    interfaces = Path(f"/proc/{_runner_pid(container)}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    assert sorted((mount["Destination"], mount["RW"]) for mount in seen["Mounts"]) == [
        ("/model", False),
        ("/run/moorage", True),
    ]


def test_the_socket_of_docker_is_known_to_the_provisioning_worker_alone(stack: Stack, docker_host: str) -> None:
    path = docker_host.removeprefix("unix://").encode()
    knowing = {
        name
        for name, child in stack.running.items()
        for pid in _with_children(child.pid)
        if path in Path(f"/proc/{pid}/environ").read_bytes() or _has_open(pid, path)
    }

    assert knowing == {"worker-provision"}


def _users(engine: docker.DockerClient) -> list[str]:
    mine = engine.containers.list(filters={"label": "moorage.instance"})
    return [container.attrs["Config"]["User"] for container in mine]


def _runner_pid(container: Any) -> int:
    """The engine's own process id: Docker's tiny init is the container's first."""
    rows = container.top(ps_args="-eo pid,comm")["Processes"]
    return next(int(pid) for pid, command in rows if "init" not in command)


def _with_children(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def _has_open(pid: int, path: bytes) -> bool:
    """Whether a process is connected to the Unix socket at ``path``."""
    inodes = {
        line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(path.decode())
    }
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue
        if target.removeprefix("socket:[").rstrip("]") in inodes:
            return True
    return False
