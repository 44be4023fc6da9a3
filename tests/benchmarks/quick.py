"""One measurement of a gateway in a few seconds, for whoever makes it faster.

    PYTHONPATH=platform python -m tests.benchmarks.quick unary64 [unary1|burst|paced|paced500|all] [--where]

No gates, no peers: look at processor time, not at requests a second, where the machine is shared.
"""

import argparse
import contextlib
import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks import database, gateway, load, peers, samples, stage, systems, traffic
from tests.benchmarks.programs import BenchFailed

_PACE_MS: Final = 20
SCENARIOS: Final = ("unary1", "unary64", "burst", "paced", "paced500")


def plan_of(name: str, seconds: float) -> tuple[traffic.Shape, load.Plan]:
    """What is asked, and how."""
    if name == "burst":
        shape = traffic.Shape(tokens=64)
        return shape, load.Plan(connections=64, seconds=seconds, frames=shape.frames)
    if name.startswith("paced"):
        tokens = int((seconds + 2.0) * 1000 / _PACE_MS)
        shape = traffic.Shape(tokens=tokens, interval_ms=_PACE_MS)
        connections = int(name.removeprefix("paced") or 1000)
        return shape, load.Plan(connections=connections, seconds=seconds, mode="paced", ramp=1.0, frames=shape.frames)
    return traffic.Shape(), load.Plan(connections=int(name.removeprefix("unary")), seconds=seconds)


def show(name: str, sample: load.Sample) -> str:
    """One line."""
    latency = sample.latency_us
    streams = sample.frames > 0
    each = max(1, sample.frames if streams else sample.requests)
    line = (
        f"{name:<9} {sample.cpu_seconds / each * 1e6:7.2f} us CPU a {'frame' if streams else 'request'}"
        f" (user {sample.user_seconds / each * 1e6:.2f}, kernel {sample.system_seconds / each * 1e6:.2f})"
        f"  core {sample.cpu_seconds / sample.seconds:4.0%}"
    )
    if sample.requests:
        line += f"  {sample.rate:9,.0f}/s  p50 {latency.p50:.0f} p99 {latency.p99:.0f} us"
    if streams and not sample.requests:
        line += (
            f"  {sample.frames / sample.seconds:9,.0f} frames/s  first p50 {sample.first_us.p50:.0f} p99"
            f" {sample.first_us.p99:.0f}  gap p50 {sample.gap_us.p50:.0f} p99 {sample.gap_us.p99:.0f} us"
        )
    return f"{line}  rss {sample.resident / 1e6:.0f} MB"


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.quick")
    parser.add_argument("scenarios", nargs="*", default=["unary64"], choices=[*SCENARIOS, "all"])
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--engine", choices=("llamacpp", "vllm"), default="llamacpp")
    parser.add_argument("--keys", type=int, default=database.KEYS)
    parser.add_argument("--free", action="store_true", help="keys without limits, no budget")
    parser.add_argument("--direct", action="store_true", help="also the fake engine without a gateway")
    parser.add_argument("--mixed", action="store_true", help="many keys on each connection, as behind a proxy")
    parser.add_argument("--where", action="store_true", help="sample the gateway: which functions the time goes to")
    parser.add_argument("--perf", action="store_true", help="Linux perf: which C functions the time goes to")
    parser.add_argument("--tree", type=Path, default=database.ROOT, help="another checkout, to compare with")
    parser.add_argument("--against", help="another checkout or a peer, in turn; the ratio at the end")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the gateway")
    asked = parser.parse_args(arguments)
    names = SCENARIOS if "all" in asked.scenarios else asked.scenarios
    folder = Path(os.environ.get("MOORAGE_HOME") or "/tmp/moorage-bench") / "bench"
    with stage.built(folder) as scene:
        seeded = scene.databases.seeded(keys=asked.keys, is_governed=not asked.free, is_exact=False)
        database.put_route(seeded.url, sockets=scene.sockets, engine=asked.engine)
        settings = dict(each.split("=", 1) for each in asked.set)
        with (
            gateway.serving(
                scene.work, database_url=seeded.url, tree=asked.tree, is_sampled=asked.where, settings=settings
            ) as worker,
            _other(asked, scene, seeded, settings) as other,
        ):
            for name in names:
                ratios = []
                for _ in range(asked.repeat):
                    ours = _measure(name, asked, scene, worker, seeded)
                    if other is not None:
                        ratios.append(cost(ours) / cost(_measure_other(name, asked, scene, other)))
                if ratios:
                    print(f"{name}: {statistics.median(ratios):.3f} x the processor time of {asked.against}")
    return 0


def cost(sample: load.Sample) -> float:
    """Processor time of a frame of paced streams, of an answer else."""
    return sample.cpu_us_per_request if sample.requests else sample.cpu_us_per_frame


@contextlib.contextmanager
def _other(
    asked: argparse.Namespace, scene: stage.Stage, seeded: database.Seeded, settings: dict[str, str]
) -> Iterator[systems.System | None]:
    if asked.against is None:
        yield None
    elif asked.against in peers.NAMES:
        with peers.running(scene, scene.folder / "peers", asked.against) as system:
            yield system
    else:
        with gateway.serving(
            scene.work, database_url=seeded.url, tree=Path(asked.against), settings=settings
        ) as worker:
            caller = traffic.Caller(host=worker.host, secrets=seeded.secrets)
            yield systems.System(name="other", caller=caller, pids=lambda: worker.pids, settle=worker.sweep)


def _measure_other(name: str, asked: argparse.Namespace, scene: stage.Stage, other: systems.System) -> load.Sample:
    shape, plan = plan_of(name, asked.seconds)
    plan = dataclasses.replace(plan, is_mixed=asked.mixed)
    sample = scene.measure(host=other.host, pids=other.pids(), caller=other.caller, shape=shape, plan=plan)
    print(show(f"  {other.name}", sample), flush=True)
    other.settle()
    return sample


def _measure(
    name: str, asked: argparse.Namespace, scene: stage.Stage, worker: gateway.Worker, seeded: database.Seeded
) -> load.Sample:
    shape, plan = plan_of(name, asked.seconds)
    plan = dataclasses.replace(plan, is_mixed=asked.mixed)
    caller = traffic.Caller(host=worker.host, secrets=seeded.secrets)
    if asked.direct:
        alone = scene.measure(host=scene.engine_host, pids=[scene.engine_pid], caller=caller, shape=shape, plan=plan)
        print(show(f"({name})", alone), flush=True)
    if asked.where:
        worker.begin_samples()
    perf = _record(worker.pid, asked.seconds, scene.short) if asked.perf else None
    sample = scene.measure(host=worker.host, pids=worker.pids, caller=caller, shape=shape, plan=plan)
    print(show(name, sample), flush=True)
    if asked.where:
        print(samples.render(worker.end_samples()))
    if perf is not None:
        perf.wait(30)
        for order in ("dso", "dso,sym"):
            report = ["perf", "report", "-i", str(scene.short / "perf"), "--no-children", "--stdio", "-g", "none"]
            done = subprocess.run([*report, "--sort", order], capture_output=True, text=True, check=False)
            lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]
            print("\n".join(lines[:40]))
    worker.sweep()
    return sample


def _record(pid: int, seconds: float, place: Path) -> "subprocess.Popen[bytes]":
    if shutil.which("perf") is None:
        raise BenchFailed("There is no perf here.")
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "999", "-o", str(place / "perf"), "-p", str(pid)]
    return subprocess.Popen([*command, "--", "sleep", str(seconds)], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BenchFailed as error:
        sys.exit(str(error))
