"""Streams that are open and hardly speak: how many one worker holds, and what each costs in memory."""

from typing import Final

from tests.benchmarks import traffic
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Row
from tests.benchmarks.load import Plan, Sample
from tests.benchmarks.programs import BenchFailed
from tests.benchmarks.series import say
from tests.benchmarks.systems import moorage

#: 20,000 open files are two for each stream.
_STREAMS: Final = (5_000, 9_000)
_PACE_MS: Final = 2_000
_OPENED_PER_SECOND: Final = 1_000


def measure(bench: Bench) -> tuple[list[Row], list[str]]:
    """One gateway for each number: memory that was taken once is not given back."""
    held, words = 0, []
    resident: float | None = None
    problem = ""
    for streams in _STREAMS:
        try:
            sample = _hold(bench, streams)
        except BenchFailed as error:
            problem = str(error).split("\n")[0][:120]
            say(f"  {streams} streams: {problem}")
            break
        held = streams
        grown = sum(each.rss - each.rss_before for each in sample.processes)
        resident = grown / streams / 1024
        words.append(
            f"{streams:,} streams held: {sample.resident / 1e6:.0f} MB resident, {resident:.1f} KB a stream, "
            f"{sample.cpu_seconds / sample.seconds:.0%} of a core, first token p99 {sample.first_us.p99 / 1e3:.1f} ms"
        )
        say(f"  {words[-1]}")
    return [
        Row(measure="resident per open stream", reached=resident, unit=" KB", floor=16, aim=8, remark=problem),
        Row(
            measure="streams held open by one worker",
            reached=float(held),
            floor=5_000,
            aim=9_000,
            is_more_better=True,
            digits=0,
            remark=problem,
        ),
    ], words


def _hold(bench: Bench, streams: int) -> Sample:
    ramp = streams / _OPENED_PER_SECOND
    shape = traffic.Shape(tokens=1 + int((ramp + 60) * 1000 / _PACE_MS), interval_ms=_PACE_MS)
    with moorage(bench.scene) as ours:
        # What a gateway allocates once is not a stream's.
        bench.scene.measure(
            host=ours.host,
            pids=ours.pids(),
            caller=ours.caller,
            shape=traffic.Shape(tokens=64),
            plan=Plan(connections=64, seconds=1, frames=traffic.Shape(tokens=64).frames),
        )
        plan = Plan(
            connections=streams,
            seconds=max(4.0, bench.effort.seconds),
            warm=3.0,
            mode="hold",
            frames=shape.frames,
            ramp=ramp,
        )
        return bench.scene.measure(host=ours.host, pids=ours.pids(), caller=ours.caller, shape=shape, plan=plan)
