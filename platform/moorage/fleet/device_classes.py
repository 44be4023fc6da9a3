"""What a replica holds, in the words that prices and costs use: of what is reserved, and of what would be. Pure."""

from collections.abc import Iterable
from typing import Final

from moorage.fleet.placement import NodeState, Placement

_MOST: Final = 80


def of_parts(whole: Iterable[str], shares: Iterable[tuple[str, int, int]]) -> str:
    """``NVIDIA H200``, ``2 x NVIDIA H200``, ``3/8 NVIDIA H200`` for a share, in eighths rounded up, ``cpu`` for room
    without a device. Kinds are joined by ``+``. Shares are (name, bytes held, bytes of the device)."""
    counts: dict[str, int] = {}
    for name in sorted(whole):
        counts[name] = counts.get(name, 0) + 1
    parts = [f"{count} x {name}" if count > 1 else name for name, count in counts.items()]
    for name, held, memory in shares:
        eighths = -(-8 * held // memory)
        parts.append(name if eighths >= 8 else f"{eighths}/8 {name}")
    return " + ".join(parts)[:_MOST] or "cpu"


def of_placement(placement: Placement, nodes: Iterable[NodeState]) -> str:
    """What a replica would hold at this place of the nodes it was found on."""
    node = next(node for node in nodes if node.node_id == placement.node_id)
    known = {device.device_id: device for device in (*node.free_devices, *node.shared_devices)}
    devices = [known[device_id] for device_id in placement.device_ids]
    if placement.share_bytes:
        return of_parts((), [(device.name, placement.share_bytes, device.memory_bytes) for device in devices])
    return of_parts([device.name for device in devices], ())
