"""Where the gateway's time goes: its Python functions by sampling, and the kernel's share from /proc."""

from tests.benchmarks import database, gateway, samples, traffic
from tests.benchmarks.bench import Bench
from tests.benchmarks.load import Plan


def measure(bench: Bench) -> list[str]:
    """Two tables of text for answers in one piece, and two for streams."""
    seeded = bench.scene.databases.seeded()
    database.put_route(seeded.url, sockets=bench.scene.sockets)
    found = []
    stream = traffic.Shape(tokens=64)
    with gateway.serving(bench.scene.work, database_url=seeded.url, is_sampled=True) as worker:
        caller = traffic.Caller(host=worker.host, secrets=seeded.secrets)
        for title, shape in (("answers in one piece", traffic.Shape()), ("streams of 64 tokens", stream)):
            plan = Plan(connections=64, seconds=max(2.0, bench.effort.seconds), frames=shape.frames)
            worker.begin_samples()
            sample = bench.scene.measure(host=worker.host, pids=worker.pids, caller=caller, shape=shape, plan=plan)
            stacks = worker.end_samples()
            worker.sweep()
            kernel = sample.system_seconds / max(0.001, sample.cpu_seconds)
            found.append(f"{title}: {sample.cpu_us_per_request:.1f} us CPU each, {kernel:.0%} of it in the kernel")
            found.append(samples.render(stacks, functions=15, lines=10))
    return found
