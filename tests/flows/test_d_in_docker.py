"""Flow D's tiers again, with hardened containers on a real Docker Engine, and what the Engine says of them."""

from collections.abc import Iterator

import docker
import pytest

from moorage.deployments.models import ReplicaStatus
from tests.flows.stack import Stack
from tests.flows.test_d_tiers import (
    SLEEP,
    Sleeping,
    asleep,
    test_500_requests_at_once_cause_one_wake,
    test_a_request_is_held_while_it_wakes_and_is_answered,
    test_nobody_calls_and_it_goes_down_tier_by_tier_and_comes_back,
)

__all__ = [
    "asleep",
    "test_500_requests_at_once_cause_one_wake",
    "test_a_request_is_held_while_it_wakes_and_is_answered",
    "test_nobody_calls_and_it_goes_down_tier_by_tier_and_comes_back",
]

pytestmark = pytest.mark.docker
R = ReplicaStatus


@pytest.fixture(scope="module")
def runtime(docker_host: str, llamacpp_image: str) -> dict[str, str]:
    """Engines in containers."""
    return {"MOORAGE_RUNTIME": "docker", "DOCKER_HOST": docker_host, "MOORAGE_LLAMACPP_IMAGE": llamacpp_image}


@pytest.fixture(scope="module")
def engine(docker_host: str) -> Iterator[docker.DockerClient]:
    """The Docker Engine, for looking."""
    client = docker.DockerClient(base_url=docker_host, timeout=30)
    yield client
    client.close()


@pytest.mark.parametrize("asleep", [tier for tier in SLEEP if tier != R.GONE], indirect=True)
def test_the_engine_keeps_the_container_and_knows_how_it_is(
    asleep: Sleeping, engine: docker.DockerClient, secret: str, stack: Stack
) -> None:
    tier = asleep.replica.status
    container = engine.containers.get(asleep.replica.container_name)
    first = container.id
    assert container.status == ("paused" if tier == R.FROZEN else "exited")

    stack.openai(secret).completions.create(model=asleep.model, prompt="The sea", max_tokens=1)

    container.reload()
    assert container.id == first
    # Whatever the Engine believes of one that the kernel let go on, it can end it.
    container.kill()
    assert container.wait(timeout=20)["StatusCode"] == 137
