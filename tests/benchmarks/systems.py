"""What can be put under load: the fake engine alone, gateways, and other people's programs, all asked the same way."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from tests.benchmarks import database, gateway, traffic
from tests.benchmarks.stage import Stage

DIRECT: Final = "engine alone"
MOORAGE: Final = "moorage"


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """One system under test. ``settle`` is called after each run."""

    name: str
    caller: traffic.Caller
    pids: Callable[[], list[int]]
    settle: Callable[[], None] = lambda: None

    @property
    def host(self) -> str:
        """Where it listens."""
        return self.caller.host


def direct(scene: Stage) -> System:
    """The fake engine without anything in between."""
    return System(name=DIRECT, caller=traffic.Caller(host=scene.engine_host), pids=lambda: [scene.engine_pid])


@contextlib.contextmanager
def moorage(
    scene: Stage,
    *,
    name: str = MOORAGE,
    keys: int = database.KEYS,
    is_governed: bool = True,
    used_keys: int | None = None,
    settings: Mapping[str, str] = MappingProxyType({}),
    module: str = "moorage.gateway",
) -> Iterator[System]:
    """A gateway worker: by default with everything on. ``settings`` are environment variables, ``module`` what runs."""
    seeded = scene.databases.seeded(keys=keys, is_governed=is_governed)
    database.put_route(seeded.url, sockets=scene.sockets)
    with gateway.serving(scene.work, database_url=seeded.url, settings=settings, module=module) as worker:
        yield System(
            name=name,
            caller=traffic.Caller(host=worker.host, secrets=seeded.secrets[:used_keys]),
            pids=lambda: worker.pids,
            settle=worker.sweep,
        )
