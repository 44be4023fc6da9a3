"""Streams: as many short ones as a core can give, and a thousand at the pace of a model."""

import contextlib
from typing import Final

from tests.benchmarks import peers, series, traffic
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Row
from tests.benchmarks.load import Plan
from tests.benchmarks.series import Series
from tests.benchmarks.systems import DIRECT, MOORAGE, direct, moorage

_PACE_MS: Final = 20
_STREAMS: Final = 1000
_RAMP_SECONDS: Final = 1.0
_WARM_SECONDS: Final = 1.0


def burst(bench: Bench) -> tuple[list[Row], list[str]]:
    """Streams of 64 tokens that the engine says in one breath, 64 at a time."""
    shape = traffic.Shape(tokens=64)
    plan = Plan(connections=64, seconds=bench.effort.seconds, frames=shape.frames)
    with contextlib.ExitStack() as stack:
        systems = [stack.enter_context(moorage(bench.scene)), direct(bench.scene)]
        systems += bench.peer_systems(stack, peers.NGINX, peers.ENVOY, peers.VLLM_ROUTER)
        seen = series.run(bench.scene, systems, shape=shape, plan=plan, effort=bench.effort, title="burst")
    ratio = seen.compare(MOORAGE, peers.NGINX, lambda ours, theirs: ours.rate / theirs.rate)
    row = Row(
        measure="64-token streams/s against nginx",
        reached=ratio,
        unit="x",
        floor=0.7,
        aim=1.3,
        is_more_better=True,
        digits=2,
        gates=seen.gates_of(peers.NGINX),
        is_noisy=seen.is_noisy(MOORAGE, peers.NGINX),
        remark=_problem(bench, seen),
    )
    words = []
    for name in seen.trials:
        best = seen.best(name, lambda one: one.cpu_us_per_frame)
        if best is not None:
            sample = best.sample
            words.append(
                f"{name:<14}{sample.rate:>10,.0f} streams/s  {sample.cpu_us_per_frame:>9.2f} us CPU a frame"
                f"  p50 {sample.latency_us.p50:,.0f} p99 {sample.latency_us.p99:,.0f} us"
            )
    return [row], words


def paced(bench: Bench) -> tuple[list[Row], list[str]]:
    """A thousand streams of 50 tokens a second."""
    seconds = bench.effort.seconds + (0 if bench.is_quick else 2)
    tokens = int((_RAMP_SECONDS + _WARM_SECONDS + seconds + 0.5) * 1000 / _PACE_MS)
    shape = traffic.Shape(tokens=tokens, interval_ms=_PACE_MS)
    plan = Plan(
        connections=_STREAMS,
        seconds=seconds,
        warm=_WARM_SECONDS,
        mode="paced",
        frames=shape.frames,
        ramp=_RAMP_SECONDS,
    )
    with contextlib.ExitStack() as stack:
        systems = [stack.enter_context(moorage(bench.scene)), direct(bench.scene)]
        systems += bench.peer_systems(stack, peers.NGINX, peers.ENVOY)
        seen = series.run(bench.scene, systems, shape=shape, plan=plan, effort=bench.effort, title="paced")
    title = f"{_STREAMS:,} streams x {1000 // _PACE_MS} tokens/s"
    cost = seen.compare(MOORAGE, peers.NGINX, lambda ours, theirs: ours.cpu_us_per_frame / theirs.cpu_us_per_frame)
    gap = seen.compare(MOORAGE, DIRECT, lambda ours, alone: (ours.gap_us.p99 - alone.gap_us.p99) / 1e3)
    first = seen.compare(MOORAGE, DIRECT, lambda ours, alone: (ours.first_us.p99 - alone.first_us.p99) / 1e3)
    rows = [
        Row(
            measure="CPU per frame against nginx, paced",
            reached=cost,
            unit="x",
            floor=1.5,
            aim=1.1,
            digits=2,
            gates=seen.gates_of(peers.NGINX),
            is_noisy=seen.is_noisy(MOORAGE, peers.NGINX),
            remark=_problem(bench, seen),
        ),
        Row(
            measure=f"gap p99 added, {title}",
            reached=gap,
            unit=" ms",
            floor=2,
            aim=0.5,
            digits=2,
            gates=seen.gates_of(MOORAGE),
            is_noisy=seen.is_noisy(MOORAGE, DIRECT),
        ),
        Row(
            measure=f"first token p99 added, {title}",
            reached=first,
            unit=" ms",
            floor=5,
            aim=2,
            digits=2,
            gates=seen.gates_of(MOORAGE),
            is_noisy=seen.is_noisy(MOORAGE, DIRECT),
        ),
    ]
    words = []
    for name in seen.trials:
        best = seen.best(name, lambda one: one.cpu_us_per_frame)
        if best is not None:
            sample = best.sample
            words.append(
                f"{name:<14}{sample.frames / sample.seconds:>10,.0f} frames/s  {sample.cpu_us_per_frame:>9.2f} us CPU a"
                f" frame ({sample.cpu_seconds / sample.seconds:.0%} of a core)"
                f"  gap p50 {sample.gap_us.p50 / 1e3:.2f} p99 {sample.gap_us.p99 / 1e3:.2f} ms"
                f"  first token p50 {sample.first_us.p50 / 1e3:.2f} p99 {sample.first_us.p99 / 1e3:.2f} ms"
            )
    return rows, words


def _problem(bench: Bench, seen: Series) -> str:
    return (bench.absent.get(peers.NGINX) or seen.failures.get(peers.NGINX) or "").split("\n")[0][:100]
