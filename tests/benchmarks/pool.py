"""`./manage.py bench pool`: days of an emulated pool under our rule and first-fit-decreasing; a hard decision."""

import datetime as dt
import random
import time
from collections.abc import Iterable, Sequence

from moorage.fleet import pool_day
from moorage.fleet.decision import Asker, decide
from moorage.fleet.placement import GIB, Demand, NodeState
from tests.fleet import pool_moments

AIM_MS = 50.0


def main(*, is_quick: bool) -> int:
    """Prints the tables. 1 when a rule was broken, or when a decision gave less than first-fit-decreasing."""
    print(decisions(rounds=3 if is_quick else 15), flush=True)
    outcomes = days(seeds=range(1 if is_quick else 4), nodes=16 if is_quick else 40)
    print(table(outcomes), flush=True)
    seeds = range(3 if is_quick else 30)
    small = days(seeds=seeds, nodes=8)
    print(density(small), flush=True)
    in_days, less_in_days = compared(moment for seed in seeds for moment in pool_moments.of_day(seed))
    in_crowds, less_in_crowds = compared(
        pool_moments.crowd(seed, nodes=4, coming=20) for seed in range(10 * len(seeds))
    )
    print(f"from one state, less was given than by first-fit-decreasing in {in_days} of the small days")
    print(f"and in {in_crowds} of crowds")
    return int(less_in_days or less_in_crowds or any(outcome.violations for outcome in (*outcomes, *small)))


def days(*, seeds: Sequence[int], nodes: int) -> list[pool_day.Outcome]:
    """Each seeded day under both rules. Priorities are left out of the turn: first-fit-decreasing has none."""
    found = []
    for seed in seeds:
        pool = pool_day.pool(nodes=nodes)
        day = pool_day.day(seed, devices=8 * nodes)
        for rule in ("moorage", "first-fit-decreasing"):
            found.append(pool_day.replay(day, pool, rule=rule, ignores_priority=True))
    return found


def compared(moments: Iterable[pool_moments.Moment]) -> tuple[str, bool]:
    """In how many of these a decision gave less than first-fit-decreasing, and whether in any."""
    pairs = [(moment.ours(), moment.theirs()) for moment in moments]
    less, more = (sum(found) for found in ([a < b for a, b in pairs], [a > b for a, b in pairs]))
    return f"{less} of {len(pairs)} decisions ({more} gave more)", bool(less)


def table(outcomes: Sequence[pool_day.Outcome]) -> str:
    """One line a day and rule."""
    lines = [
        f"{'rule':<22}{'placed':>8}{'of':>8}{'used':>8}{'busy':>8}{'mean s':>9}{'p99 s':>9}{'large mean s':>14}"
        f"{'large p99 s':>13}{'warm':>7}{'wrong':>7}"
    ]
    lines += [
        f"{one.rule:<22}{one.placed:>8}{one.arrivals:>8}{one.used_share:>8.1%}{one.used_share_while_waiting:>8.1%}"
        f"{one.mean_wait:>9.0f}{one.p99_wait:>9.0f}{one.large_mean_wait:>14.0f}{one.large_p99_wait:>13.0f}"
        f"{one.warm_share:>7.0%}{len(one.violations):>7}"
        for one in outcomes
    ]
    return "\n".join((*lines, "used: share of all GPU memory over the day; busy: while somebody waited"))


def density(outcomes: Sequence[pool_day.Outcome]) -> str:
    """On how many days ours used no less of the GPUs' memory while somebody waited, and by how much in the mean."""
    pairs = list(zip(outcomes[::2], outcomes[1::2], strict=True))
    more = [ours.used_share_while_waiting - theirs.used_share_while_waiting for ours, theirs in pairs]
    sooner = sum(ours.mean_wait <= theirs.mean_wait for ours, theirs in pairs)
    return (
        f"as dense or denser than first-fit-decreasing on {sum(each >= 0 for each in more)} of {len(pairs)} small days,"
        f" by {100 * sum(more) / len(more):+.2f} points in the mean"
        f" ({100 * min(more):+.2f} to {100 * max(more):+.2f}); a wait no longer in the mean on {sooner}"
    )


def decisions(*, rounds: int) -> str:
    """Processor time of one decision for 1,000 GPUs behind 200 who wait, in the shapes that a pool has."""
    lines = [f"{'one decision, 1,000 GPUs, 200 waiting':<42}{'median ms':>10}{'worst ms':>10}   (aim {AIM_MS:g})"]
    for nodes, gpus in ((125, 8), (1000, 1)):
        for name, held in (("empty", 0.0), ("half full", 0.5), ("full", 1.0)):
            pool = [_used(node, held, number) for number, node in enumerate(pool_day.pool(nodes=nodes, gpus=gpus))]
            took = sorted(timed(pool, seed) for seed in range(rounds))
            label = f"{nodes} nodes of {gpus}, {name}"
            lines.append(f"{label:<42}{took[len(took) // 2]:>10.1f}{took[-1]:>10.1f}")
    return "\n".join(lines)


def timed(pool: Sequence[NodeState], seed: int) -> float:
    """Milliseconds of this process for one decision."""
    chance = random.Random(seed)
    waiting = [
        Asker(
            replica_id=f"rep_{number}",
            demand=_demand(chance, number),
            waited=dt.timedelta(seconds=chance.randrange(600)),
        )
        for number in range(200)
    ]
    last = Asker(replica_id="rep_last", demand=Demand(memory_bytes=GIB, cpu_millis=1000, gpus=1, priority=0))
    began = time.process_time()
    decide(last, waiting, pool)
    return 1000 * (time.process_time() - began)


def _demand(chance: random.Random, number: int) -> Demand:
    has_share = number % 3 == 0
    return Demand(
        memory_bytes=chance.randrange(1, 400) * GIB,
        cpu_millis=1000,
        gpus=0 if has_share else chance.choice((0, 1, 1, 2, 4, 8)),
        gpu_share_bytes=chance.randrange(5, 60) * GIB if has_share else 0,
        organization_id=f"org_{number % 20}",
    )


def _used(node: NodeState, held: float, number: int) -> NodeState:
    taken = round(held * len(node.free_devices)) if len(node.free_devices) > 1 else int(number % 100 < held * 100)
    return NodeState(
        **{**vars(node), "free_devices": node.free_devices[taken:], "used_memory_bytes": number % 500 * GIB}
    )
