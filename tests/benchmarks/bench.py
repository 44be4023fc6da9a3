"""What every scenario is given: the stage, where the peers are, and how much effort to make."""

import contextlib
import dataclasses
from pathlib import Path

from tests.benchmarks import peers
from tests.benchmarks.programs import BenchFailed
from tests.benchmarks.series import Effort, say
from tests.benchmarks.stage import Stage
from tests.benchmarks.systems import System


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """``absent`` collects, by peer, why it is not measured."""

    scene: Stage
    peers: Path
    effort: Effort
    absent: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_quick(self) -> bool:
        """Whether one short look is enough."""
        return self.effort.rounds == 1

    def peer_systems(self, stack: contextlib.ExitStack, *names: str) -> list[System]:
        """Those of the peers that run here, until ``stack`` ends."""
        found = []
        for name in names:
            if name in self.absent:
                continue
            try:
                found.append(stack.enter_context(peers.running(self.scene, self.peers, name)))
            except BenchFailed as error:
                self.absent[name] = str(error)
                say(f"skipped {name}: {error}")
        return found
