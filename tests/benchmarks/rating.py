"""How fast usage becomes money: the real rater over events that wait, one worker, then two side by side."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.benchmarks import database, machine
from tests.benchmarks.figures import Row
from tests.benchmarks.programs import BenchFailed
from tests.benchmarks.rated import Worked
from tests.benchmarks.series import say

_MODULE: Final = "tests.benchmarks.rated"
_EVENTS: Final = 400_000
_QUICK_EVENTS: Final = 40_000
_ROUNDS: Final = 3


def measure(folder: Path, *, is_quick: bool) -> tuple[list[Row], list[str]]:
    """Rows of one worker and of two; the best of the rounds counts. Raises BenchFailed."""
    events, rounds = (_QUICK_EVENTS, 1) if is_quick else (_EVENTS, _ROUNDS)
    alone: list[list[Worked]] = []
    beside: list[list[Worked]] = []
    with database.running(folder / "rating") as databases:
        url = databases.seeded(keys=8, is_governed=False).url
        for number in range(rounds):
            for workers, kept in ((1, alone), (2, beside)):
                database.django(url, folder, _MODULE, "seed", str(events))
                kept.append(_work(url, folder, workers))
                if wrong := database.django(url, folder, _MODULE, "prove").strip():
                    raise BenchFailed(f"what was rated does not add up: {wrong}")
                say(f"  round {number + 1}, workers {workers}: {_shown(kept[-1])}")
    best, two = max(alone, key=_per_core), max(beside, key=_a_second)
    return [
        Row(
            measure="events rated and posted, per core of worker and PostgreSQL",
            reached=_per_core(best),
            unit="/s",
            floor=10_000,
            aim=25_000,
            is_more_better=True,
            digits=0,
            remark=f"{_a_second(best):,.0f}/s by the clock",
        ),
        Row(
            measure="events rated and posted, two workers on two cores",
            reached=_a_second(two),
            unit="/s",
            floor=20_000,
            aim=50_000,
            is_more_better=True,
            digits=0,
            remark=f"{_a_second(two) / _a_second(best):.2f} times one worker",
        ),
    ], [_shown(best), _shown(two)]


def _work(url: str, home: Path, workers: int) -> list[Worked]:
    """Starts the workers, lets all of them begin at once, and waits for the last."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", _MODULE, "work"],
            env=database.environment(url, home),
            cwd=database.ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=machine.pinned(core),
        )
        for core in (machine.SYSTEM_CORE, machine.LOAD_CORE)[:workers]
    ]
    try:
        for worker in started:
            if worker.stdout is None or worker.stdout.readline() != "ready\n":
                raise BenchFailed(f"a worker did not start:\n{worker.communicate()[1][-2000:]}")
        for worker in started:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        said = [worker.communicate() for worker in started]
        if failed := [error for worker, (_, error) in zip(started, said, strict=True) if worker.returncode]:
            raise BenchFailed(f"a worker failed:\n{failed[0][-2000:]}")
        return [msgspec.json.decode(text, type=Worked) for text, _ in said]
    finally:
        for worker in started:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


def _events(done: Sequence[Worked]) -> int:
    return sum(one.events for one in done)


def _a_second(done: Sequence[Worked]) -> float:
    return _events(done) / (max(one.ended for one in done) - min(one.began for one in done))


def _per_core(done: Sequence[Worked]) -> float:
    """Events for each second of processor time, the workers' and their PostgreSQL backends'."""
    return _events(done) / sum(one.own_seconds + one.postgres_seconds for one in done)


def _shown(done: Sequence[Worked]) -> str:
    each = 1e6 / _events(done)
    return (
        f"{_events(done):,} events at {_a_second(done):,.0f}/s; {sum(one.own_seconds for one in done) * each:.1f} us"
        f" CPU an event in the workers, {sum(one.postgres_seconds for one in done) * each:.1f} us in PostgreSQL"
    )
