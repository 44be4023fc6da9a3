"""From one and the same state a decision gives no less of the GPUs than first-fit-decreasing, priority by priority."""

import datetime as dt

import pytest

from moorage.fleet import first_fit
from moorage.fleet.decision import PATIENCE, Asker, decide, densest
from moorage.fleet.placement import Demand, NodeState, Placement, Policy, Priority, Refusal
from tests.fleet import pool_moments
from tests.fleet.pools import demand, node


@pytest.mark.parametrize("has_priorities", [True, False], ids=["priorities", "equals"])
@pytest.mark.parametrize(("nodes", "coming"), [(4, 20), (8, 30)])
def test_a_crowd_gets_no_less_than_by_first_fit_decreasing(nodes: int, coming: int, has_priorities: bool) -> None:
    more = 0
    for seed in range(60):
        moment = pool_moments.crowd(seed, nodes=nodes, coming=coming, has_priorities=has_priorities)

        ours, theirs = moment.ours(), moment.theirs()

        assert ours >= theirs, f"day {seed}"
        more += ours > theirs
    assert more


@pytest.mark.parametrize("seed", range(12))
def test_no_decision_of_a_day_gives_less_than_first_fit_decreasing(seed: int) -> None:
    moments = list(pool_moments.of_day(seed, nodes=4))

    less = [moment for moment in moments if moment.ours() < moment.theirs()]

    assert less == []
    assert len(moments) > 20


@pytest.mark.parametrize("seed", [1, 5, 19])
def test_who_ask_one_by_one_get_no_less_than_by_first_fit_decreasing(seed: int) -> None:
    moment = pool_moments.crowd(seed, nodes=4, coming=20)

    assert moment.one_by_one() >= moment.theirs()


def test_a_rule_that_gives_less_is_found_out() -> None:
    moment = pool_moments.crowd(5, nodes=4, coming=20)
    rule = first_fit.FirstFit(moment.nodes)
    smallest_first = sorted(moment.askers, key=lambda asker: asker.turn, reverse=True)

    places = {asker.replica_id: rule.place(asker.demand) for asker in smallest_first}

    assert moment.given(places) < moment.theirs()


def pair(*, warm: str, roomy: str) -> list[NodeState]:
    """Nodes a and b with two GPUs each: one has the weights, one much memory."""
    return [
        node(name, memory=32 if name == roomy else 16, gpus=(80, 80), digests=frozenset({"w"} if name == warm else ()))
        for name in ("a", "b")
    ]


def asker(name: str, wanted: Demand, *, has_waited_long: bool = False) -> Asker:
    return Asker(replica_id=name, demand=wanted, waited=PATIENCE if has_waited_long else dt.timedelta())


def test_warm_weights_are_left_to_one_who_would_otherwise_get_no_place() -> None:
    nodes = pair(warm="b", roomy="b")
    large = asker("rep_large", demand(gpus=2, digest="w"))
    other = asker("rep_other", demand(30, gpus=1))

    decision = decide(large, [other], nodes)

    assert isinstance(decision, Placement)
    assert decision.node_id == "node_a"
    assert "so that more of those who wait get a place" in decision.why
    assert densest([large, other], nodes).places["rep_other"].node_id == "node_b"


@pytest.mark.parametrize(("memory", "policy"), [(40, "pack"), (30, "spread")], ids=["fits nowhere", "spread"])
def test_warm_weights_are_kept_where_nobody_gains_or_density_is_not_asked_for(memory: int, policy: Policy) -> None:
    large = asker("rep_large", demand(gpus=2, digest="w"))
    other = asker("rep_other", demand(memory, gpus=1))

    decision = decide(large, [other], pair(warm="b", roomy="b"), policy=policy)

    assert isinstance(decision, Placement)
    assert decision.node_id == "node_b"
    assert "the weights are there" in decision.why


@pytest.mark.parametrize(("priority", "has_waited_long"), [("high", False), ("normal", True)])
def test_more_for_those_who_come_later_is_no_reason_to_give_less_to_those_before(
    priority: Priority, has_waited_long: bool
) -> None:
    nodes = pair(warm="b", roomy="a")
    before = [
        asker("rep_large", demand(gpus=2, digest="w", priority=priority), has_waited_long=has_waited_long),
        asker("rep_other", demand(30, gpus=1, priority=priority), has_waited_long=has_waited_long),
    ]
    later = asker("rep_later", demand(gpus=2))

    plan = densest([*before, later], nodes)

    # First fit would give four devices: to the large one and to the one that comes later.
    assert {name: place.node_id for name, place in plan.places.items()} == {
        "rep_large": "node_b",
        "rep_other": "node_a",
    }
    assert isinstance(decide(later, before, nodes), Refusal)
