"""Several systems under the same load, in turn, several times; the least disturbed run of each is kept.

Systems are measured one after the other in every round, so that what the machine does to one it does to all. Ratios
are taken within a round.
"""

import dataclasses
import statistics
import sys
from collections.abc import Callable, Sequence

from tests.benchmarks import gates, load, traffic
from tests.benchmarks.gates import Gates
from tests.benchmarks.programs import BenchFailed
from tests.benchmarks.stage import Stage
from tests.benchmarks.systems import System


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How long and how often: rounds until ``wanted`` of each system were undisturbed, at most ``rounds``."""

    rounds: int = 6
    wanted: int = 3
    seconds: float = 3.0
    quiet_seconds: float = 1.5


QUICK = Effort(rounds=1, wanted=1, seconds=1.0, quiet_seconds=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of one system."""

    sample: load.Sample
    gates: Gates


Figure = Callable[[load.Sample], float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """By system, its trial of each round. A system that gave a wrong answer is not here but in ``failures``."""

    trials: dict[str, list[Trial]]
    failures: dict[str, str]

    def best(self, name: str, figure: Figure) -> Trial | None:
        """The trial with the lowest ``figure`` among the least disturbed ones."""
        trials = self.trials.get(name, [])
        for accepts in (lambda seen: seen.is_quiet and seen.is_near, lambda seen: seen.is_quiet, lambda _: True):
            accepted = [trial for trial in trials if accepts(trial.gates)]
            if accepted:
                return min(accepted, key=lambda trial: figure(trial.sample))
        return None

    def compare(self, name: str, other: str, how: Callable[[load.Sample, load.Sample], float]) -> float | None:
        """The median over rounds of ``how`` of both.

        Rounds count in which both were undisturbed, with the cores near if there are such, or at least equally far.
        """
        pairs = list(zip(self.trials.get(name, []), self.trials.get(other, []), strict=False))
        quiet = [pair for pair in pairs if all(trial.gates.is_quiet for trial in pair)]
        near = [pair for pair in quiet if all(trial.gates.is_near for trial in pair)]
        far = [pair for pair in quiet if not any(trial.gates.is_near for trial in pair)]
        values = [how(one.sample, two.sample) for one, two in near or far or quiet or pairs]
        return statistics.median(values) if values else None

    def is_noisy(self, *names: str) -> bool:
        """Whether there was no round in which all of ``names`` were undisturbed: figures of it are a guess."""
        rounds = zip(*(self.trials.get(name, []) for name in names), strict=False)
        return not any(all(trial.gates.is_quiet for trial in trials) for trials in rounds)

    def gates_of(self, name: str) -> str:
        """The gates in words: how many rounds were undisturbed, and the range of the cores' distance."""
        trials = self.trials.get(name, [])
        if not trials:
            return ""
        quiet = sum(trial.gates.is_quiet for trial in trials)
        near = [trial.gates.near_ns for trial in trials]
        return f"{quiet}/{len(trials)} quiet, {min(near):.0f}-{max(near):.0f} ns"


def run(
    scene: Stage, systems: Sequence[System], *, shape: traffic.Shape, plan: load.Plan, effort: Effort, title: str
) -> Series:
    """Measure. Raises BenchFailed when the first of ``systems`` gives a wrong answer; another one is left out."""
    trials: dict[str, list[Trial]] = {system.name: [] for system in systems}
    failures: dict[str, str] = {}
    for number in range(effort.rounds):
        for system in systems:
            if system.name in failures:
                continue
            try:
                trial = _trial(scene, system, shape=shape, plan=plan, effort=effort)
            except BenchFailed as error:
                if system is systems[0]:
                    raise
                failures[system.name] = str(error)
                trials.pop(system.name)
                say(f"  {title}: {system.name} is left out: {error}")
                continue
            trials[system.name].append(trial)
            say(f"  {title} {number + 1}: {system.name:<14} {_shown(trial)}")
        if all(sum(trial.gates.is_quiet for trial in done) >= effort.wanted for done in trials.values()):
            break
    return Series(trials=trials, failures=failures)


def _trial(scene: Stage, system: System, *, shape: traffic.Shape, plan: load.Plan, effort: Effort) -> Trial:
    busy = gates.busy_share(effort.quiet_seconds)
    before = gates.distance(scene.binaries["distance"])
    sample = scene.measure(host=system.host, pids=system.pids(), caller=system.caller, shape=shape, plan=plan)
    after = gates.distance(scene.binaries["distance"])
    system.settle()
    seen = Gates(near_ns=max(before, after), busy_share=busy, foreign_seconds=sample.foreign_seconds)
    return Trial(sample=sample, gates=seen)


def _shown(trial: Trial) -> str:
    sample = trial.sample
    if sample.frames and not sample.requests:
        speed = f"{sample.frames / sample.seconds:9,.0f} frames/s {sample.cpu_us_per_frame:7.2f} us CPU a frame"
        speed += f"  gap p99 {sample.gap_us.p99 / 1e3:.2f} ms"
    else:
        speed = f"{sample.rate:9,.0f}/s {sample.cpu_us_per_request:8.2f} us CPU"
        speed += f"  p50 {sample.latency_us.p50:.0f} p99 {sample.latency_us.p99:.0f} us"
    return f"{speed}  ({trial.gates})"


def say(sentence: str) -> None:
    """Progress goes to stderr; the table alone is on stdout."""
    print(sentence, file=sys.stderr, flush=True)
