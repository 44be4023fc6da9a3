"""Where a replica goes, and what it is told when it goes nowhere."""

import dataclasses

import pytest

from moorage.fleet.placement import Demand, DeviceState, NodeState, Placement, Refusal, place

GIB = 1024**3


def node(
    name: str, *, memory: int = 16, used: int = 0, gpus: tuple[int, ...] = (), held: int = 0, **more: object
) -> NodeState:
    free = tuple(DeviceState(device_id=f"{name}-gpu{n}", memory_bytes=size * GIB) for n, size in enumerate(gpus))
    state = NodeState(
        node_id=f"node_{name}",
        name=name,
        memory_bytes=memory * GIB,
        used_memory_bytes=used * GIB,
        cpu_millis=4000,
        used_cpu_millis=0,
        device_count=len(gpus),
        free_devices=free[held:],
    )
    return dataclasses.replace(state, **more)  # type: ignore[arg-type]


def demand(memory: int = 4, *, cpu: int = 1000, gpus: int = 0, gpu_memory: int = 0) -> Demand:
    return Demand(memory_bytes=memory * GIB, cpu_millis=cpu, gpus=gpus, gpu_memory_bytes=gpu_memory * GIB)


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
        (demand(), [node("a", is_drained=True), node("b", used=10)], ("b", ())),
        (demand(), [node("a", is_seen=False), node("b", used=10)], ("b", ())),
    ],
)
def test_the_best_node_is_chosen(wanted: Demand, nodes: list[NodeState], expected: tuple[str, tuple[str, ...]]) -> None:
    decision = place(wanted, nodes)

    assert isinstance(decision, Placement)
    assert (decision.node_id, decision.device_ids) == (f"node_{expected[0]}", expected[1])
    assert expected[0] in decision.why


@pytest.mark.parametrize(
    ("wanted", "nodes", "code", "says"),
    [
        (demand(), [], "no_nodes", "No node takes replicas"),
        (demand(), [node("a", is_drained=True), node("b", is_seen=False)], "no_nodes", "1 drained, 1 not heard of"),
        (demand(20), [node("a"), node("b", memory=8)], "too_little_memory", "the largest node has 16.0 GiB"),
        (demand(cpu=8000), [node("a")], "too_few_cpus", "Ask for at most 4."),
        (demand(gpus=1), [node("a")], "too_few_devices", "GGUF format runs without one"),
        (demand(gpus=4), [node("a", gpus=(24, 24))], "too_few_devices", "Ask for at most 2."),
        (demand(8), [node("a", used=9), node("b", used=12)], "nodes_full", "The emptiest, a, has 7.0 GiB free."),
        (demand(gpus=2), [node("a", gpus=(24, 24), held=1)], "nodes_full", "at most 1 GPUs are free"),
        (demand(gpus=1, gpu_memory=80), [node("a", gpus=(24,))], "nodes_full", "and 1 GPUs"),
    ],
)
def test_a_refusal_says_what_would_fit(wanted: Demand, nodes: list[NodeState], code: str, says: str) -> None:
    decision = place(wanted, nodes)

    assert isinstance(decision, Refusal)
    assert decision.reason_code == code
    assert says in decision.sentence


def test_the_answer_does_not_depend_on_the_order_of_the_nodes() -> None:
    nodes = [node("c"), node("a"), node("b")]

    assert place(demand(), nodes) == place(demand(), nodes[::-1])
