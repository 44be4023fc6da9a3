"""Which node and devices a replica gets: a pure decision that can say why.

Memory and devices are never oversold. CPU time is shared: a replica must fit a node's CPUs alone, and nodes with idle
CPUs are preferred, but a busy node is no reason to refuse.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final, Literal

RefusalCode = Literal["no_nodes", "too_little_memory", "too_few_cpus", "too_few_devices", "nodes_full"]

GIB: Final = 1024**3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demand:
    """What one replica needs."""

    memory_bytes: int
    cpu_millis: int
    gpus: int = 0  #: whole devices
    gpu_memory_bytes: int = 0  #: that each of them must have


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceState:
    """One device that no replica holds."""

    device_id: str
    memory_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeState:
    """One node, as it is now."""

    node_id: str
    name: str
    memory_bytes: int
    used_memory_bytes: int
    cpu_millis: int
    used_cpu_millis: int
    is_drained: bool = False
    is_seen: bool = True  #: it has reported itself lately
    device_count: int = 0
    free_devices: tuple[DeviceState, ...] = ()

    @property
    def free_memory_bytes(self) -> int:
        """Memory that no replica has reserved."""
        return self.memory_bytes - self.used_memory_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """A yes: where, on which devices, and why there."""

    node_id: str
    device_ids: tuple[str, ...]
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """A no: a code to branch on, and a sentence that says what would fit."""

    reason_code: RefusalCode
    sentence: str


def place(demand: Demand, nodes: Sequence[NodeState]) -> Placement | Refusal:
    """The best node for ``demand``, or what would fit instead.

    1. Nodes that are drained or silent do not count.
    2. Nodes that could not hold it even when empty do not count.
    3. Of those with room now, one without devices is taken for a demand without devices; then the one with the most
       memory left, then the one with the idlest CPUs. The name breaks ties, so that the answer is always the same.
    """
    live = [node for node in nodes if not node.is_drained and node.is_seen]
    if not live:
        silent = sum(not node.is_seen for node in nodes)
        drained = len(nodes) - silent
        return Refusal(
            reason_code="no_nodes",
            sentence=f"No node takes replicas: {drained} drained, {silent} not heard of lately. Bring one back.",
        )
    refusal = _never_fits(demand, live)
    if refusal is not None:
        return refusal
    open_nodes = [node for node in live if _fits_now(demand, node)]
    if not open_nodes:
        return _full(demand, live)
    chosen = min(
        open_nodes,
        key=lambda node: (
            node.device_count > 0 and demand.gpus == 0,
            -node.free_memory_bytes,
            node.used_cpu_millis / node.cpu_millis,
            node.name,
        ),
    )
    devices = _devices(demand, chosen)
    return Placement(
        node_id=chosen.node_id,
        device_ids=tuple(device.device_id for device in devices),
        why=(
            f"{chosen.name} has {_gib(chosen.free_memory_bytes)} free of {_gib(chosen.memory_bytes)}"
            + (f" and {len(chosen.free_devices)} free devices" if demand.gpus else "")
            + f"; {len(open_nodes)} of {len(live)} nodes had room"
        ),
    )


def _never_fits(demand: Demand, live: Sequence[NodeState]) -> Refusal | None:
    largest = max(node.memory_bytes for node in live)
    if demand.memory_bytes > largest:
        return Refusal(
            reason_code="too_little_memory",
            sentence=(
                f"It needs {_gib(demand.memory_bytes)} and the largest node has {_gib(largest)}. "
                "A smaller context, fewer parallel requests or a smaller quantization would fit."
            ),
        )
    most_cpus = max(node.cpu_millis for node in live)
    if demand.cpu_millis > most_cpus:
        return Refusal(
            reason_code="too_few_cpus",
            sentence=(
                f"It asks for {demand.cpu_millis / 1000:g} CPUs and the largest node has {most_cpus / 1000:g}. "
                f"Ask for at most {most_cpus / 1000:g}."
            ),
        )
    most_devices = max(node.device_count for node in live)
    if demand.gpus > most_devices:
        return Refusal(
            reason_code="too_few_devices",
            sentence=(
                f"It asks for {demand.gpus} GPUs and the largest node has {most_devices}. "
                + (f"Ask for at most {most_devices}." if most_devices else "A model in GGUF format runs without one.")
            ),
        )
    return None


def _fits_now(demand: Demand, node: NodeState) -> bool:
    return (
        demand.memory_bytes <= node.free_memory_bytes
        and demand.cpu_millis <= node.cpu_millis
        and len(_devices(demand, node)) == demand.gpus
    )


def _devices(demand: Demand, node: NodeState) -> tuple[DeviceState, ...]:
    """The smallest free devices that are large enough, in order: large ones stay for those who need them."""
    large_enough = [device for device in node.free_devices if device.memory_bytes >= demand.gpu_memory_bytes]
    large_enough.sort(key=lambda device: device.memory_bytes)
    return tuple(large_enough[: demand.gpus])


def _full(demand: Demand, live: Sequence[NodeState]) -> Refusal:
    most_free = max(live, key=lambda node: node.free_memory_bytes)
    free_devices = max(len(node.free_devices) for node in live)
    devices = f" and {demand.gpus} GPUs" if demand.gpus else ""
    free = f"{_gib(most_free.free_memory_bytes)} free" + (
        f"; at most {free_devices} GPUs are free" if demand.gpus else ""
    )
    return Refusal(
        reason_code="nodes_full",
        sentence=(
            f"It needs {_gib(demand.memory_bytes)}{devices} on one node. The emptiest, {most_free.name}, has {free}. "
            "It starts when room frees up: pause or delete a deployment, or add a node."
        ),
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
