"""The table and what is computed for it."""

import pytest

from tests.benchmarks import figures
from tests.benchmarks.figures import Row


@pytest.mark.parametrize(
    ("reached", "verdict"),
    [(10.0, "aim"), (16.0, "aim"), (16.1, "ok"), (30.0, "ok"), (30.1, "below"), (None, "skipped")],
)
def test_a_cost_is_judged_by_its_floor_and_its_aim(reached: float | None, verdict: str) -> None:
    row = Row(measure="CPU per request", reached=reached, floor=30, aim=16)

    assert row.verdict == verdict


@pytest.mark.parametrize(("reached", "verdict"), [(0.7, "aim"), (0.6, "aim"), (0.5, "ok"), (0.34, "below")])
def test_a_speed_is_judged_the_other_way_round(reached: float, verdict: str) -> None:
    row = Row(measure="requests/s against nginx", reached=reached, floor=0.35, aim=0.6, is_more_better=True)

    assert row.verdict == verdict


def test_a_loss_in_percent_is_a_negative_figure_of_which_more_is_better() -> None:
    row = Row(measure="strict journal against none", reached=-9.0, floor=-12, aim=-7, is_more_better=True)

    assert row.verdict == "ok"


def test_a_row_without_a_floor_is_for_information() -> None:
    assert Row(measure="growth", reached=3.0).verdict == ""


def test_the_table_names_what_is_below_and_why_something_was_skipped() -> None:
    rows = [
        Row(measure="CPU per request", reached=31.26, unit=" us", floor=30, aim=16, gates="quiet, 90 ns"),
        Row(measure="requests/s against envoy", reached=None, unit="x", floor=0.8, remark="envoy is not there"),
    ]

    head, rule, cost, envoy = figures.render(rows).splitlines()

    assert head.split() == ["measure", "floor", "aim", "reached", "gates"]
    assert set(rule) == {"-"}
    assert cost.split("  ")[0] == "CPU per request"
    assert "≤ 30.0 us" in cost and "31.3 us  BELOW" in cost and cost.endswith("quiet, 90 ns")
    assert "skipped" in envoy and envoy.endswith("envoy is not there")


def test_a_verdict_from_a_machine_that_was_never_quiet_says_so() -> None:
    noisy = Row(measure="gap p99 added", reached=-3.0, unit=" ms", floor=2, aim=0.5, is_noisy=True)

    assert "ok, aim (noisy)" in figures.render([noisy])


def test_a_row_for_machines_carries_its_verdict() -> None:
    found = figures.document(Row(measure="CPU per request", reached=12.0, floor=30, aim=16))

    assert found["verdict"] == "aim"
    assert found["reached"] == 12.0


def test_the_slope_of_points_on_a_line_is_the_lines() -> None:
    assert figures.slope([(0, 5), (1, 7), (2, 9)]) == pytest.approx(2)
    assert figures.slope([(0, 5), (1, 5), (2, 5)]) == pytest.approx(0)
