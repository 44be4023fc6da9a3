"""Samples of a running gateway, added up."""

import pytest

from tests.benchmarks import samples
from tests.benchmarks.samples import LOOP

STACKS = [
    (["moorage.gateway.usage.settle:10", "moorage.gateway.exchange.end:70"], 3),
    (["moorage.gateway.exchange.end:71"], 2),
    (["moorage.gateway.exchange.end:71", "moorage.gateway.exchange.end:70"], 1),
    ([LOOP], 4),
]


def test_own_time_is_the_innermost_functions_and_total_time_counts_each_function_once() -> None:
    found = {share.name: share for share in samples.by_function(STACKS)}

    assert found["moorage.gateway.usage.settle"].own == pytest.approx(0.3)
    assert found["moorage.gateway.exchange.end"].own == pytest.approx(0.3)
    assert found["moorage.gateway.exchange.end"].total == pytest.approx(0.6)


def test_lines_are_told_apart() -> None:
    found = {share.name: share for share in samples.by_line(STACKS)}

    assert found["moorage.gateway.exchange.end:71"].own == pytest.approx(0.3)
    assert found["moorage.gateway.exchange.end:70"].own == 0


def test_what_runs_below_all_functions_has_a_name() -> None:
    text = samples.render(STACKS)

    assert "10 samples" in text
    assert " 40.0%  40.0%  event loop, sockets\n" in text
