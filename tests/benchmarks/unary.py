"""Answers in one piece: how many a core gives, what one costs, and what the gateway adds to the time of one."""

import contextlib
from collections.abc import Callable
from typing import Final

from tests.benchmarks import peers, series, traffic
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Row
from tests.benchmarks.load import Plan, Sample
from tests.benchmarks.series import Series
from tests.benchmarks.systems import DIRECT, MOORAGE, System, direct, moorage

FREE: Final = "no limits"
UNRECORDED: Final = "no journal"
#: The one without a journal replaces a class, which native code has no place for: it stands beside the sources.
SOURCES: Final = "sources"
_NOT_COMPILED: Final = {"MOORAGE_GATEWAY_COMPILED": "/nonexistent"}
_UNRECORDED_MODULE: Final = "tests.benchmarks.unrecorded_gateway"
#: Floor and aim of requests a second, as a multiple of the peer's.
_AGAINST: Final[dict[str, tuple[float | None, float | None]]] = {
    peers.NGINX: (0.35, 0.6),
    peers.LITELLM: (200.0, 400.0),
    peers.VLLM_ROUTER: (1.1, 1.8),
    peers.ENVOY: (0.8, 1.3),
    peers.PORTKEY: (None, None),
}
_FEW_KEYS: Final = 8


def measure(bench: Bench) -> tuple[list[Row], list[str]]:
    """The rows, and what each system did in words."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(moorage(bench.scene))
        others = bench.peer_systems(stack, *peers.NAMES)
        systems = [ours, direct(bench.scene), *others]
        busy = series.run(
            bench.scene,
            systems,
            shape=traffic.Shape(),
            plan=Plan(connections=64, seconds=bench.effort.seconds),
            effort=bench.effort,
            title="64 connections",
        )
        calm = series.run(
            bench.scene,
            systems,
            shape=traffic.Shape(),
            plan=Plan(connections=1, seconds=bench.effort.seconds),
            effort=bench.effort,
            title="1 connection",
        )
        mixed = series.run(
            bench.scene,
            [ours],
            shape=traffic.Shape(),
            plan=Plan(connections=64, seconds=bench.effort.seconds, is_mixed=True),
            effort=bench.effort,
            title="many keys on each connection",
        )
        checks = _against_variant(bench, stack, ours, FREE)
        records = _against_variant(bench, stack, ours, UNRECORDED)
    rows = [_against(bench, busy, name, *bounds) for name, bounds in _AGAINST.items()]
    rows.append(_cost("CPU per request", busy, floor=30, aim=16))
    rows.append(_cost("CPU per request, many keys on each connection", mixed))
    rows += [_added(calm, "p50", lambda one: one.latency_us.p50, 90, 55)]
    rows += [_added(calm, "p99", lambda one: one.latency_us.p99, 200, 110)]
    rows.append(_change("key, limit and budget checks on against off", checks, MOORAGE, FREE, -15, -5))
    rows.append(_change("strict journal against none", records, SOURCES, UNRECORDED, -12, -7))
    return rows, _in_words(busy, calm)


def _against_variant(bench: Bench, stack: contextlib.ExitStack, ours: System, kind: str) -> Series:
    """The usual gateway beside one that lacks something."""
    if kind == FREE:
        other = moorage(bench.scene, name=FREE, keys=_FEW_KEYS, is_governed=False)
    else:
        ours = stack.enter_context(moorage(bench.scene, name=SOURCES, settings=_NOT_COMPILED))
        other = moorage(bench.scene, name=UNRECORDED, settings=_NOT_COMPILED, module=_UNRECORDED_MODULE)
    return series.run(
        bench.scene,
        [ours, stack.enter_context(other)],
        shape=traffic.Shape(),
        plan=Plan(connections=64, seconds=bench.effort.seconds),
        effort=bench.effort,
        title=kind,
    )


def _against(bench: Bench, seen: Series, name: str, floor: float | None, aim: float | None) -> Row:
    ratio = seen.compare(MOORAGE, name, lambda ours, theirs: ours.rate / theirs.rate)
    cost = seen.compare(MOORAGE, name, lambda ours, theirs: theirs.cpu_us_per_request / ours.cpu_us_per_request)
    problem = bench.absent.get(name) or seen.failures.get(name) or ""
    remark = f"{cost:.2f}x by processor time" if cost is not None else problem.split("\n")[0][:100]
    return Row(
        measure=f"requests/s against {name}",
        reached=ratio,
        unit="x",
        floor=floor,
        aim=aim,
        is_more_better=True,
        digits=2,
        gates=seen.gates_of(name),
        is_noisy=seen.is_noisy(MOORAGE, name),
        remark=remark,
    )


def _cost(measure: str, seen: Series, *, floor: float | None = None, aim: float | None = None) -> Row:
    best = seen.best(MOORAGE, lambda one: one.cpu_us_per_request)
    assert best is not None, "the first system of a series is always there"
    each = max(1, best.sample.requests)
    user, kernel = best.sample.user_seconds / each * 1e6, best.sample.system_seconds / each * 1e6
    return Row(
        measure=measure,
        reached=best.sample.cpu_us_per_request,
        unit=" us",
        floor=floor,
        aim=aim,
        gates=str(best.gates),
        is_noisy=not best.gates.is_quiet,
        remark=f"user {user:.1f}, kernel {kernel:.1f}; {best.sample.rate:,.0f} requests/s",
    )


def _added(seen: Series, name: str, figure: Callable[[Sample], float], floor: float, aim: float) -> Row:
    added = seen.compare(MOORAGE, DIRECT, lambda ours, alone: figure(ours) - figure(alone))
    nginx = seen.compare(peers.NGINX, DIRECT, lambda theirs, alone: figure(theirs) - figure(alone))
    return Row(
        measure=f"added latency, one connection, {name}",
        reached=added,
        unit=" us",
        floor=floor,
        aim=aim,
        digits=0,
        gates=seen.gates_of(MOORAGE),
        is_noisy=seen.is_noisy(MOORAGE, DIRECT),
        remark=f"nginx adds {nginx:.0f} us" if nginx is not None else "",
    )


def _change(measure: str, seen: Series, one: str, other: str, floor: float, aim: float) -> Row:
    change = seen.compare(one, other, lambda ours, theirs: (ours.rate / theirs.rate - 1) * 100)
    cost = seen.compare(one, other, lambda ours, theirs: ours.cpu_us_per_request - theirs.cpu_us_per_request)
    return Row(
        measure=measure,
        reached=change,
        unit=" %",
        floor=floor,
        aim=aim,
        is_more_better=True,
        gates=seen.gates_of(other),
        is_noisy=seen.is_noisy(one, other),
        remark=f"{cost:+.1f} us CPU a request",
    )


def _in_words(busy: Series, calm: Series) -> list[str]:
    lines = []
    for name in busy.trials:
        many = busy.best(name, lambda one: one.cpu_us_per_request)
        one = calm.best(name, lambda one: one.latency_us.p50)
        if many is None:
            continue
        sample = many.sample
        line = f"{name:<14}{sample.rate:>10,.0f} requests/s {sample.cpu_us_per_request:>9.1f} us CPU a request"
        line += f"  p50 {sample.latency_us.p50:>7,.0f} p99 {sample.latency_us.p99:>8,.0f} us at 64"
        if one is not None:
            line += f"  p50 {one.sample.latency_us.p50:>6,.0f} p99 {one.sample.latency_us.p99:>7,.0f} us at 1"
        lines.append(f"{line}  {sample.resident / 1e6:>5.0f} MB")
    return lines
