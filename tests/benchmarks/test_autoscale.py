"""The autoscaler against the reference policy, on the same seeded traces: nothing here runs by a clock."""

import pytest

from tests.benchmarks.autoscale import table, traces
from tests.benchmarks.autoscale.policies import Knative, Moorage
from tests.benchmarks.autoscale.replay import Cluster, replay
from tests.benchmarks.autoscale.table import Row

CLUSTER = Cluster()


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return table.measure(tiers=("absent",))


def test_no_trace_waits_longer_or_costs_more_than_with_the_reference(rows: list[Row]) -> None:
    worse = [row.trace for row in rows if not row.is_met]

    assert len(rows) == 5
    assert worse == []


def test_the_table_has_both_and_says_where_the_reference_is_better(rows: list[Row]) -> None:
    told = table.render(rows)

    assert all(name in told for name in ("steady", "diurnal", "bursts", "spike", "on/off"))
    assert "worse" not in told
    swapped = Row(trace="steady", tier="absent", requests=1, ours=rows[0].reference, reference=rows[0].ours)
    assert "worse" in table.render([swapped])


@pytest.mark.parametrize("make", [traces.spike, traces.on_off], ids=lambda make: make.__name__)
def test_a_seed_is_a_trace_and_a_replay_loses_nothing(make) -> None:  # type: ignore[no-untyped-def]
    trace = make(7)

    first, again = (replay(trace, Moorage(slots=4, most=32), CLUSTER) for _ in range(2))

    assert make(7) == trace != make(8)
    assert first == again
    assert len(first.waits) == len(trace.requests)


def test_the_reference_does_what_is_published() -> None:
    """Eight a second of two seconds each are 16 in flight: at 70 % of four slots, six replicas, and zero at the end."""
    trace = traces.steady(1)

    result = replay(trace, Knative(slots=4), CLUSTER)

    mean = result.replica_seconds / trace.seconds
    assert 6 <= mean <= 8
    assert len(result.waits) == len(trace.requests)


def test_nobody_calls_and_nothing_runs() -> None:
    nobody = traces.Trace(name="nobody", seconds=600, requests=())

    for policy in (Moorage(slots=4, most=32), Knative(slots=4)):
        assert replay(nobody, policy, CLUSTER).replica_seconds == 0
