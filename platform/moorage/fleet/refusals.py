"""Why there is no place, and what would fit: one closed code and one sentence. Pure."""

from collections.abc import Sequence
from typing import Final

from moorage.fleet.placement import GIB, ORGANIZATION_TAINT, Demand, DeviceKind, NodeState, Refusal

_WHEN: Final = "It starts when room frees up: pause or delete a deployment, or add a node."


def explain(demand: Demand, nodes: Sequence[NodeState], *, others_ahead: int = 0) -> Refusal:
    """The first of these that is true:

    nobody takes replicas; labels or taints keep it from all; it is larger than any node or its devices; others go
    first (``others_ahead`` of them); all is taken.
    """
    live = [node for node in nodes if node.is_open]
    if not live:
        silent = sum(not node.is_seen for node in nodes)
        drained = len(nodes) - silent
        return Refusal(
            reason_code="no_nodes",
            sentence=f"No node takes replicas: {drained} drained, {silent} not heard of lately. Bring one back.",
        )
    matching = [node for node in live if not node.keeps_out(demand)]
    if not matching:
        return _nobody_matches(demand, live)
    never = _never_fits(demand, matching)
    if never is not None:
        return never
    if others_ahead:
        return Refusal(
            reason_code="others_first",
            sentence=(
                f"The room there is goes to {others_ahead} that {'wait' if others_ahead > 1 else 'waits'} longer, "
                "need more or have a higher priority. It starts after them, or when a node is added."
            ),
        )
    return _full(demand, matching)


def could_hold(demand: Demand, node: NodeState) -> bool:
    """Whether ``node`` would do if it were empty."""
    return (
        not node.keeps_out(demand)
        and demand.memory_bytes <= node.memory_bytes
        and demand.cpu_millis <= node.cpu_millis
        and _devices_would_do(demand, node)
    )


def _devices_would_do(demand: Demand, node: NodeState) -> bool:
    if demand.gpu_share_bytes:
        return any(kind.memory_bytes >= demand.gpu_share_bytes for kind in node.kinds)
    if not demand.wants_device:
        return True
    kinds = [kind for kind in node.kinds if not kind.is_slice]
    count = node.device_count if demand.is_all_gpus else demand.gpus
    if not count or not demand.can_use(count) or (demand.is_all_gpus and len(kinds) > 1):
        return False
    usable = kinds if count > 1 or demand.is_all_gpus else node.kinds
    return any(kind.count >= count and kind.memory_bytes >= demand.each_device_needs(count) for kind in usable)


def _nobody_matches(demand: Demand, live: Sequence[NodeState]) -> Refusal:
    asked = ", ".join(f"{name}={value}" for name, value in demand.labels)
    if asked:
        there = sorted(
            {f"{n}={v}" for node in live for n, v in (*node.labels, *node.taints) if n != ORGANIZATION_TAINT}
        )
        offer = f"There is {', '.join(there[:12])}." if there else "No node has a label."
        return Refusal(reason_code="no_node_matches", sentence=f"No node that takes it has {asked}. {offer}")
    taints = sorted({f"{n}={v}" for node in live for n, v in node.taints if n != ORGANIZATION_TAINT})
    offer = f"Ask for {' or '.join(taints[:4])} under node: labels." if taints else "All of them are others' own."
    return Refusal(reason_code="no_node_matches", sentence=f"Every node is kept for those who ask for it. {offer}")


def _never_fits(demand: Demand, nodes: Sequence[NodeState]) -> Refusal | None:
    largest = max(node.memory_bytes for node in nodes)
    if demand.memory_bytes > largest:
        return Refusal(
            reason_code="too_little_memory",
            sentence=(
                f"It needs {_gib(demand.memory_bytes)} and the largest node has {_gib(largest)}. "
                "A smaller context, fewer parallel requests or a smaller quantization would fit."
            ),
        )
    most_cpus = max(node.cpu_millis for node in nodes)
    if demand.cpu_millis > most_cpus:
        return Refusal(
            reason_code="too_few_cpus",
            sentence=(
                f"It asks for {demand.cpu_millis / 1000:g} CPUs and the largest node has {most_cpus / 1000:g}. "
                f"Ask for at most {most_cpus / 1000:g}."
            ),
        )
    if not demand.wants_device or any(could_hold(demand, node) for node in nodes):
        return None
    return _devices_never_fit(demand, nodes)


def _devices_never_fit(demand: Demand, nodes: Sequence[NodeState]) -> Refusal:
    with_devices = [node.memory_bytes for node in nodes if _devices_would_do(demand, node)]
    if with_devices:
        return Refusal(
            reason_code="too_little_memory",
            sentence=(
                f"It needs {_gib(demand.memory_bytes)}, and the largest node with such GPUs has "
                f"{_gib(max(with_devices))}. "
                "A smaller context, fewer parallel requests or a smaller quantization would fit."
            ),
        )
    most = max(node.device_count for node in nodes)
    kinds = [kind for node in nodes for kind in node.kinds]
    if not kinds:
        return _too_few("It asks for GPUs and no node has one. A model in GGUF format runs without one.")
    largest = max(kinds, key=lambda kind: kind.memory_bytes)
    if demand.gpu_share_bytes:
        return _too_small(
            f"It asks for {_gib(demand.gpu_share_bytes)} of one GPU and the largest has {_gib(largest.memory_bytes)}. "
            f"Ask for at most {_gib(largest.memory_bytes)}, or for several with gpus."
        )
    if demand.gpus > max(most, 1) and not demand.is_all_gpus:
        return _too_few(
            f"It asks for {demand.gpus} GPUs and the largest node has {most}. "
            + (f"Ask for at most {most}." if most else "A model in GGUF format runs without one.")
        )
    if not any(demand.can_use(count) for count in _counts(demand, nodes)):
        fitting = ", ".join(str(count) for count in range(1, most + 1) if demand.can_use(count))
        return _too_few(
            f"The model has {demand.heads} attention heads, which {_counts(demand, nodes)[-1]} GPUs cannot share "
            f"equally. Ask for {fitting} GPUs."
        )
    return _too_small(_sizes(demand, nodes, largest))


def _counts(demand: Demand, nodes: Sequence[NodeState]) -> list[int]:
    """How many devices it would hold, on any of the nodes."""
    return sorted({node.device_count for node in nodes} - {0}) if demand.is_all_gpus else [demand.gpus]


def _sizes(demand: Demand, nodes: Sequence[NodeState], largest: DeviceKind) -> str:
    count = max(_counts(demand, nodes) or [1])
    needed = demand.each_device_needs(count)
    if needed <= largest.memory_bytes:
        return (
            f"It asks for {count} equal GPUs with {_gib(needed)} each, and no node has so many of one kind. "
            "Ask for fewer, or add a node."
        )
    enough = next(
        (
            n
            for n in range(1, max(node.device_count for node in nodes) + 1)
            if demand.can_use(n) and demand.each_device_needs(n) <= largest.memory_bytes
        ),
        None,
    )
    advice = (
        f"Ask for {enough} GPUs."
        if enough
        else "A smaller context, fewer parallel requests or a smaller quantization would fit."
    )
    return f"It needs {_gib(needed)} on each GPU and the largest has {_gib(largest.memory_bytes)}. {advice}"


def _full(demand: Demand, nodes: Sequence[NodeState]) -> Refusal:
    able = [node for node in nodes if could_hold(demand, node)] or list(nodes)
    most_free = max(able, key=lambda node: (node.free_memory_bytes, node.name))
    wants, free = _gib(demand.memory_bytes), f"{_gib(most_free.free_memory_bytes)} free"
    if demand.gpu_share_bytes:
        wants += f" and {_gib(demand.gpu_share_bytes)} of one GPU"
        spots = [device.free_bytes for node in able for device in node.free_devices]
        spots += [
            device.free_bytes
            for node in able
            for device in node.shared_devices
            if device.organization_id == demand.organization_id
        ]
        free += f"; at most {_gib(max(spots, default=0))} of a GPU are free for it"
    elif demand.wants_device:
        wants += " and all GPUs" if demand.is_all_gpus else f" and {demand.gpus} GPUs"
        count = max(sum(not device.is_slice for device in node.free_devices) for node in able)
        free += f"; at most {count} GPUs are free"
    return Refusal(
        reason_code="nodes_full",
        sentence=f"It needs {wants} on one node. The emptiest, {most_free.name}, has {free}. {_WHEN}",
    )


def _too_few(sentence: str) -> Refusal:
    return Refusal(reason_code="too_few_devices", sentence=sentence)


def _too_small(sentence: str) -> Refusal:
    return Refusal(reason_code="devices_too_small", sentence=sentence)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
