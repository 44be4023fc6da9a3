"""A day on an emulated pool: nothing is held twice, and how much of it is used beside first-fit-decreasing."""

import re
import statistics

import pytest

from moorage.fleet import pool_day
from moorage.fleet.placement import GIB
from tests.benchmarks import pool


def test_over_many_days_a_full_pool_is_as_densely_used_as_by_first_fit_decreasing_and_nobody_waits_longer() -> None:
    """On one day either may be ahead: two rules that start alike soon hold different pools."""
    nodes = pool_day.pool(nodes=8)
    denser, quicker = [], []

    for seed in range(16):
        day = pool_day.day(seed, devices=64)
        ours = pool_day.replay(day, nodes, ignores_priority=True)
        theirs = pool_day.replay(day, nodes, rule="first-fit-decreasing", ignores_priority=True)
        assert ours.violations == theirs.violations == ()
        denser.append(ours.used_share_while_waiting - theirs.used_share_while_waiting)
        quicker.append(theirs.mean_wait - ours.mean_wait)

    assert statistics.fmean(denser) >= 0
    assert statistics.fmean(quicker) >= 0


def test_a_day_is_the_same_day_again() -> None:
    nodes = pool_day.pool(nodes=2)

    first, second = (pool_day.replay(pool_day.day(7, devices=16), nodes) for _ in range(2))

    assert first == second
    assert first.placed > 100


def test_a_rule_that_sells_twice_is_found_out() -> None:
    class Careless(pool_day.Decreasing):
        def give_back(self, demand, placement, devices):  # type: ignore[no-untyped-def]
            super().give_back(demand, placement, [*devices, *devices])

    nodes = pool_day.pool(nodes=2)
    outcome = pool_day.replay(pool_day.day(7, devices=16), nodes, placer=Careless(nodes))

    assert any("oversold" in violation for violation in outcome.violations)


@pytest.mark.parametrize(("nodes", "gpus"), [(125, 8), (1000, 1)])
def test_a_decision_for_a_thousand_gpus_takes_less_than_its_limit(nodes: int, gpus: int) -> None:
    took = min(pool.timed(pool_day.pool(nodes=nodes, gpus=gpus), seed) for seed in range(3))

    assert took < pool.AIM_MS
    assert pool_day.pool(nodes=1)[0].free_devices[0].memory_bytes == 80 * GIB


def test_the_simulator_says_on_how_many_days_the_rule_is_as_dense() -> None:
    outcomes = pool.days(seeds=range(2), nodes=2)

    said = pool.density(outcomes)

    assert [outcome.rule for outcome in outcomes] == ["moorage", "first-fit-decreasing"] * 2
    assert re.match(r"as dense or denser than first-fit-decreasing on [012] of 2 small days", said)
