"""Who goes first when not all can go, and who makes way."""

import dataclasses
import datetime as dt

from moorage.fleet import pool_day
from moorage.fleet.decision import PATIENCE, Asker, decide, densest, place
from moorage.fleet.placement import Demand, IdleReplica, Placement, Refusal
from tests.fleet.pools import GIB, demand, gpu, node


def asker(name: str, wanted: Demand, *, waited: float = 0) -> Asker:
    return Asker(replica_id=name, demand=wanted, waited=dt.timedelta(seconds=waited))


def idle(name: str, *, on: str = "a", memory: int = 4, priority: int = 1, asleep: bool = True) -> IdleReplica:
    return IdleReplica(
        replica_id=name,
        node_id=f"node_{on}",
        memory_bytes=memory * GIB,
        priority=priority,
        is_asleep=asleep,
        devices=(gpu(f"held-by-{name}"),),
    )


def test_nobody_takes_what_somebody_before_would_get() -> None:
    nodes = [node("a", gpus=(80, 80))]
    before = asker("rep_big", demand(gpus=2))

    decision = decide(asker("rep_new", demand(gpus=1)), [before], nodes)

    assert isinstance(decision, Refusal)
    assert decision.reason_code == "others_first"
    assert "goes to 1 that waits longer" in decision.sentence


def test_a_higher_priority_goes_before_those_who_wait() -> None:
    nodes = [node("a", gpus=(80, 80))]
    before = asker("rep_big", demand(gpus=2), waited=60)

    assert isinstance(decide(asker("rep_new", demand(gpus=1, priority="high")), [before], nodes), Placement)


def test_who_waits_for_more_than_there_is_keeps_nobody_out() -> None:
    nodes = [node("a", gpus=(80, 80), held=1)]
    before = asker("rep_big", demand(gpus=2), waited=60)

    assert isinstance(decide(asker("rep_new", demand(gpus=1)), [before], nodes), Placement)


def test_who_has_waited_longest_is_kept_one_node_and_no_more() -> None:
    big = asker("rep_big", demand(gpus=2), waited=PATIENCE.total_seconds() + 1)
    other_big = asker("rep_other", demand(gpus=2), waited=PATIENCE.total_seconds())
    nodes = [node("a", gpus=(80, 80), held=1), node("b", gpus=(80, 80), held=1)]

    decision = decide(asker("rep_new", demand(gpus=1)), [big, other_big], nodes)

    # Of two equal nodes the last by name is kept.
    assert isinstance(decision, Placement)
    assert decision.node_id == "node_a"
    assert isinstance(decide(asker("rep_new", demand(gpus=1)), [big], nodes[1:]), Refusal)


def test_who_has_waited_longest_goes_before_one_larger_and_nobody_else_does() -> None:
    nodes = [node("a", gpus=(80, 80))]
    large = asker("rep_large", demand(gpus=2))
    old, older = (asker(f"rep_{n}", demand(gpus=1), waited=PATIENCE.total_seconds() + n) for n in range(2))

    assert isinstance(decide(older, [large, old], nodes), Placement)
    assert isinstance(decide(large, [old, older], nodes), Refusal)
    patient = asker("rep_0", demand(gpus=1), waited=PATIENCE.total_seconds() - 1)
    assert isinstance(decide(large, [patient], nodes), Placement)


def test_what_one_organization_finds_no_room_for_another_finds_on_a_node_of_its_own() -> None:
    nodes = [node("a", gpus=(80,), taints=(("organization", "org_acme"),)), node("b", gpus=(80, 80), held=2)]
    stranger = asker("rep_1", demand(gpus=1, organization_id="org_other"), waited=60)
    owner = asker("rep_2", demand(gpus=1, organization_id="org_acme"))

    plan = densest([stranger, owner], nodes)

    assert list(plan.places) == ["rep_2"]
    assert plan.places["rep_2"].node_id == "node_a"


def test_an_operator_says_how_long_the_eldest_waits() -> None:
    nodes = [node("a", gpus=(80, 80), held=1)]
    big = asker("rep_big", demand(gpus=2), waited=300)
    new = asker("rep_new", demand(gpus=1))

    assert isinstance(decide(new, [big], nodes), Placement)
    assert isinstance(decide(new, [big], nodes, patience=dt.timedelta(minutes=5)), Refusal)


def test_of_those_who_need_the_same_devices_who_came_first_goes_first() -> None:
    nodes = [node("a", memory=64, gpus=(80, 80), held=1)]
    early, roomy = asker("rep_2", demand(gpus=1), waited=1), asker("rep_1", demand(40, gpus=1))

    assert isinstance(decide(early, [roomy], nodes), Placement)
    assert isinstance(decide(roomy, [early], nodes), Refusal)


def test_nobody_starves_behind_those_who_come_later() -> None:
    """Single GPUs are asked for faster than they come free. Who needs a whole node gets one in a known time."""
    nodes = pool_day.pool(nodes=2, gpus=4)
    whole = Demand(memory_bytes=GIB, cpu_millis=1000, gpus=4)
    single = dataclasses.replace(whole, gpus=1)
    stays = 3600.0
    stream = [pool_day.Arrival(at=300.0 * n, stays=stays, demand=single) for n in range(280)]
    late = pool_day.Arrival(at=stays, stays=stays, demand=whole)

    day = pool_day.replay(sorted([*stream, late], key=lambda one: one.at), nodes)

    assert day.longest_wait <= PATIENCE.total_seconds() + stays
    assert day.large_mean_wait > PATIENCE.total_seconds()


def test_a_sleeping_replica_makes_way_for_its_equals_and_an_idle_one_for_its_betters() -> None:
    nodes = [node("a", gpus=(80, 80), held=2, used=8)]
    wanted = demand(gpus=1)

    asleep = place(wanted, nodes, idle=[idle("rep_1")])
    awake = place(wanted, nodes, idle=[idle("rep_1", asleep=False)])
    awake_but_lower = place(wanted, nodes, idle=[idle("rep_1", asleep=False, priority=0)])
    asleep_but_higher = place(wanted, nodes, idle=[idle("rep_1", priority=2)])

    assert isinstance(asleep, Placement)
    assert asleep.preempts == ("rep_1",)
    assert "1 that nobody calls make way" in asleep.why
    assert isinstance(awake, Refusal)
    assert isinstance(awake_but_lower, Placement)
    assert isinstance(asleep_but_higher, Refusal)


def test_nobody_makes_way_while_there_is_room() -> None:
    decision = place(demand(gpus=1), [node("a", gpus=(80, 80), held=1)], idle=[idle("rep_1")])

    assert isinstance(decision, Placement)
    assert decision.preempts == ()


def test_the_fewest_of_the_lowest_priority_make_way() -> None:
    nodes = [node("a", gpus=(80,) * 3, held=3, used=12), node("b", gpus=(80,) * 3, held=3, used=12)]
    candidates = [idle("rep_1"), idle("rep_2", priority=0), idle("rep_3", on="b"), idle("rep_4", on="b")]

    one = place(demand(gpus=1), nodes, idle=candidates)
    two = place(demand(gpus=2), nodes, idle=[*candidates, idle("rep_5", on="b", priority=2)])

    assert isinstance(one, Placement)
    assert one.preempts == ("rep_2",)
    assert isinstance(two, Placement)
    assert two.preempts == ("rep_1", "rep_2")


def test_a_share_makes_way_for_its_own_organization_and_an_emptied_device_for_any() -> None:
    shared = (gpu("s", 80, used=70, org="org_1"),)
    nodes = [node("a", used=2, shared_devices=shared, kinds=node("x", gpus=(80,)).kinds)]
    sleeper = IdleReplica(
        replica_id="rep_1",
        node_id="node_a",
        memory_bytes=GIB,
        priority=1,
        is_asleep=True,
        shares=(("s", 40 * GIB),),
    )
    rest = IdleReplica(
        replica_id="rep_2", node_id="node_a", memory_bytes=GIB, priority=1, is_asleep=True, shares=(("s", 30 * GIB),)
    )

    own = place(demand(share=45), nodes, idle=[sleeper])
    theirs = place(demand(share=45, org="org_2"), nodes, idle=[sleeper])
    emptied = place(demand(share=45, org="org_2"), nodes, idle=[sleeper, rest])

    assert isinstance(own, Placement)
    assert own.preempts == ("rep_1",)
    assert isinstance(theirs, Refusal)
    assert isinstance(emptied, Placement)
    assert emptied.preempts == ("rep_1", "rep_2")


def test_who_is_leaving_already_is_waited_for_before_anybody_else_makes_way() -> None:
    nodes = [node("a", gpus=(80,) * 2, held=2, used=8), node("b", gpus=(80,) * 2, held=2, used=8)]
    leaving = dataclasses.replace(idle("rep_9", on="b", priority=2, asleep=False), is_leaving=True)
    others = [idle("rep_1", priority=0), idle("rep_2", priority=0, on="b"), leaving]

    one = place(demand(gpus=1), nodes, idle=others)
    two = place(demand(gpus=2), nodes, idle=others)

    assert isinstance(one, Placement)
    assert one.preempts == ("rep_9",)
    assert isinstance(two, Placement)
    assert two.preempts == ("rep_2", "rep_9")
