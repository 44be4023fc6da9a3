"""Where a replica goes, and what it is told when it goes nowhere."""

import pytest

from moorage.fleet.decision import place
from moorage.fleet.placement import Demand, NodeState, Placement, Policy, Refusal
from tests.fleet.pools import GIB, demand, gpu, node

ZONE_A = (("zone", "a"),)
ACME = (("organization", "org_acme"),)


def placed(wanted: Demand, nodes: list[NodeState], policy: Policy = "pack") -> Placement:
    decision = place(wanted, nodes, policy=policy)
    assert isinstance(decision, Placement), decision
    return decision


@pytest.mark.parametrize(
    ("wanted", "nodes", "expected"),
    [
        (demand(), [node("a")], ("a", ())),
        (demand(4), [node("a", memory=4)], ("a", ())),
        (demand(), [node("a", used=10), node("b")], ("b", ())),
        (demand(), [node("a"), node("b")], ("a", ())),
        (demand(), [node("a", used_cpu_millis=4000), node("b", used_cpu_millis=1000)], ("b", ())),
        (demand(), [node("a", used_cpu_millis=9000)], ("a", ())),
        (demand(), [node("a", gpus=(24,)), node("b", used=8)], ("b", ())),
        (demand(), [node("a", gpus=(24,))], ("a", ())),
        (demand(gpus=1), [node("a"), node("b", gpus=(24,))], ("b", ("b-gpu0",))),
        (demand(gpus=1), [node("a", gpus=(80, 24))], ("a", ("a-gpu1",))),
        (demand(gpus=1, gpu_memory=40), [node("a", gpus=(24, 80))], ("a", ("a-gpu1",))),
        (demand(gpus=2), [node("a", gpus=(24, 24, 24), held=1)], ("a", ("a-gpu1", "a-gpu2"))),
        (demand(gpus=2, total=100), [node("a", gpus=(24, 24, 80, 80))], ("a", ("a-gpu2", "a-gpu3"))),
        (demand(gpus=2), [node("a", gpus=(24, 80)), node("b", gpus=(80, 80))], ("b", ("b-gpu0", "b-gpu1"))),
        (demand(is_all_gpus=True), [node("a", gpus=(80, 80), held=1), node("b", gpus=(80,))], ("b", ("b-gpu0",))),
        (demand(is_all_gpus=True, heads=32), [node("a", gpus=(80,) * 3), node("b", gpus=(80,))], ("b", ("b-gpu0",))),
        (demand(gpus=1), [node("a", slices=(18,)), node("b", gpus=(80, 80))], ("b", ("b-gpu0",))),
        (demand(gpus=1), [node("a", slices=(18,))], ("a", ("a-mig0",))),
        (demand(share=10), [node("a", slices=(18,)), node("b", gpus=(80, 80))], ("a", ("a-mig0",))),
        (demand(), [node("a", is_drained=True), node("b", used=10)], ("b", ())),
        (demand(), [node("a", is_seen=False), node("b", used=10)], ("b", ())),
        (demand(labels=ZONE_A), [node("a"), node("b", used=10, labels=ZONE_A)], ("b", ())),
        (demand(), [node("a", taints=ZONE_A), node("b", used=10)], ("b", ())),
        (demand(labels=ZONE_A), [node("a", taints=ZONE_A), node("b")], ("a", ())),
        (demand(), [node("a", taints=ACME), node("b", used=10)], ("b", ())),
        (demand(labels=ACME), [node("a", taints=ACME), node("b", used=10, labels=ACME)], ("b", ())),
        (demand(org="org_acme"), [node("a", taints=ACME), node("b", used=10)], ("a", ())),
    ],
)
def test_the_best_node_is_chosen(wanted: Demand, nodes: list[NodeState], expected: tuple[str, tuple[str, ...]]) -> None:
    decision = placed(wanted, nodes)

    assert (decision.node_id, decision.device_ids) == (f"node_{expected[0]}", expected[1])
    assert expected[0] in decision.why


@pytest.mark.parametrize(
    ("wanted", "nodes", "code", "says"),
    [
        (demand(), [], "no_nodes", "No node takes replicas"),
        (demand(), [node("a", is_drained=True), node("b", is_seen=False)], "no_nodes", "1 drained, 1 not heard of"),
        (demand(labels=ZONE_A), [node("a", labels=(("zone", "b"),))], "no_node_matches", "There is zone=b."),
        (demand(), [node("a", taints=ZONE_A)], "no_node_matches", "Ask for zone=a under node: labels."),
        (demand(), [node("a", taints=ACME)], "no_node_matches", "All of them are others' own."),
        (demand(20), [node("a"), node("b", memory=8)], "too_little_memory", "the largest node has 16.0 GiB"),
        (
            demand(20, gpus=1),
            [node("a", gpus=(24,)), node("b", memory=64)],
            "too_little_memory",
            "the largest node with such GPUs has 16.0 GiB",
        ),
        (demand(cpu=8000), [node("a")], "too_few_cpus", "Ask for at most 4."),
        (demand(gpus=1), [node("a")], "too_few_devices", "GGUF format runs without one"),
        (demand(gpus=4), [node("a", gpus=(24, 24))], "too_few_devices", "Ask for at most 2."),
        (demand(gpus=2), [node("a", slices=(18, 18))], "too_few_devices", "the largest node has 0"),
        (demand(gpus=3, heads=32), [node("a", gpus=(24,) * 4)], "too_few_devices", "Ask for 1, 2, 4 GPUs."),
        (demand(gpus=1, gpu_memory=80), [node("a", gpus=(24,))], "devices_too_small", "the largest has 24.0 GiB"),
        (demand(gpus=1, total=40), [node("a", gpus=(24,) * 4)], "devices_too_small", "Ask for 2 GPUs."),
        (demand(gpus=2), [node("a", gpus=(24, 80))], "devices_too_small", "2 equal GPUs"),
        (demand(share=30), [node("a", gpus=(24,))], "devices_too_small", "Ask for at most 24.0 GiB, or for several"),
        (demand(8), [node("a", used=9), node("b", used=12)], "nodes_full", "The emptiest, a, has 7.0 GiB free."),
        (demand(gpus=2), [node("a", gpus=(24, 24), held=1)], "nodes_full", "at most 1 GPUs are free"),
        (
            demand(share=30),
            [node("a", gpus=(80,), held=1, shared_devices=(gpu("s", 80, used=60, org="org_1"),))],
            "nodes_full",
            "at most 20.0 GiB of a GPU are free for it",
        ),
    ],
)
def test_a_refusal_says_what_would_fit(wanted: Demand, nodes: list[NodeState], code: str, says: str) -> None:
    decision = place(wanted, nodes)

    assert isinstance(decision, Refusal)
    assert decision.reason_code == code
    assert says in decision.sentence


def test_the_answer_does_not_depend_on_the_order_of_the_nodes() -> None:
    nodes = [node("c", gpus=(80,)), node("a", gpus=(80,)), node("b")]

    assert place(demand(), nodes) == place(demand(), nodes[::-1])
    assert place(demand(gpus=1), nodes) == place(demand(gpus=1), nodes[::-1])


def test_packing_fills_what_is_begun_and_spreading_begins_what_is_empty() -> None:
    nodes = [node("a", gpus=(80,) * 4), node("b", gpus=(80,) * 4, held=2), node("c", gpus=(80,) * 4, held=4)]

    assert placed(demand(gpus=1), nodes, "pack").node_id == "node_b"
    assert placed(demand(gpus=1), nodes, "spread").node_id == "node_a"


@pytest.mark.parametrize("wanted", [demand(gpus=1), demand(), demand(share=10)], ids=["device", "memory", "share"])
def test_a_node_that_has_the_weights_comes_first(wanted: Demand) -> None:
    warm = node("z", used=8, gpus=(80,) * 4, digests=frozenset({"sha256:w"}))
    nodes = [node("a", gpus=(80,)), node("b"), warm]

    decision = placed(Demand(**{**vars(wanted), "digest": "sha256:w"}), nodes)

    assert decision.node_id == "node_z"
    assert "the weights are there" in decision.why


def test_weights_on_a_full_node_are_no_reason_to_wait() -> None:
    nodes = [node("a", gpus=(80,)), node("z", gpus=(80,), held=1, digests=frozenset({"sha256:w"}))]

    assert placed(demand(gpus=1, digest="sha256:w"), nodes).node_id == "node_a"


def test_shares_of_one_organization_come_together() -> None:
    shared = (gpu("roomy", 80, used=10, org="org_1"), gpu("tight", 80, used=55, org="org_1"))
    nodes = [node("a", gpus=(80,)), node("b", gpus=(80,), shared_devices=shared)]

    decision = placed(demand(share=20), nodes)

    assert (decision.node_id, decision.device_ids, decision.share_bytes) == ("node_b", ("tight",), 20 * GIB)
    assert "beside others of its organization" in decision.why


@pytest.mark.parametrize("share", [1, 20, 79])
def test_organizations_never_share_a_device(share: int) -> None:
    shared = (gpu("theirs", 80, used=1, org="org_2"),)
    nodes = [node("a", shared_devices=shared, kinds=node("x", gpus=(80,)).kinds)]

    decision = place(demand(share=share), nodes)

    assert isinstance(decision, Refusal)
    assert "at most 0.0 GiB of a GPU are free for it" in decision.sentence


def test_a_demand_survives_being_written_down() -> None:
    wanted = demand(share=3, labels=ZONE_A, digest="sha256:w", priority="high")

    assert Demand.from_json(wanted.to_json()) == wanted
