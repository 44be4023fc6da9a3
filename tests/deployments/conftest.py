"""A deployment's whole life inside the test's process: the real engine as a local process, no broker."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from moorage.deployments import life, reconcile, services
from moorage.deployments.models import Deployment
from moorage.fleet.runtime import ContainerRuntime
from moorage.fleet.runtime_process import ProcessRuntime
from tests.cast import Cast
from tests.waiting import wait_until

COMPOSE = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 256
services:
  app:
    image: app
    models: [llm]
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Harbour:
    """A node with a runtime, and the one loop that the workers run."""

    runtime: ContainerRuntime
    home: Path

    def step(self, deployment: Deployment) -> None:
        """One look, and everything it wants driven."""
        for replica_id in reconcile.reconcile(deployment.pk, runtime=self.runtime):
            life.drive(replica_id, runtime=self.runtime)

    def until(self, deployment: Deployment, condition: Callable[[Deployment], Any], *, seconds: float = 60) -> None:
        """Steps until the condition on the freshly read deployment holds."""

        def look() -> Any:
            self.step(deployment)
            deployment.refresh_from_db()
            return condition(deployment)

        wait_until(look, seconds=seconds, what=f"{deployment.name}: {deployment.status}")


def apply(cast: Cast, text: str = COMPOSE, name: str = "demo") -> Deployment:
    """A Compose file that Alice applies."""
    return services.apply(
        organization=cast.alice.organization, name=name, compose_text=text, by=cast.alice.actor
    ).deployment


@pytest.fixture
def harbour(llama_server: Path, short_tmp: Path) -> Iterator[Harbour]:
    """The process runtime in a directory of its own; nothing of it is left afterwards."""
    runtime = ProcessRuntime(instance="test", directory=short_tmp / "processes", llama_server=str(llama_server))
    with override_settings(
        MOORAGE_SOCKET_DIR=short_tmp / "s", MOORAGE_STORE=short_tmp / "store", MOORAGE_INSTANCE="test"
    ):
        yield Harbour(runtime=runtime, home=short_tmp)
        for container in runtime.list():
            runtime.remove(container.name, grace_seconds=1)
