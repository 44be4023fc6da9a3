"""The rule that ours is compared with in the simulator: first fit, for those who come largest first. Pure."""

import dataclasses
from collections.abc import Sequence

from moorage.fleet.placement import Demand, DeviceState, NodeState, Placement


class FirstFit:
    """First-fit: the first node in order with enough free devices, the first device with enough room for a share.

    It keeps the rules (one organization on a device, memory, slices) and looks for nothing better.
    """

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        self._memory = {node.node_id: node.free_memory_bytes for node in nodes}
        self._free = {node.node_id: list(node.free_devices) for node in nodes}
        self._shared = {node.node_id: {device.device_id: device for device in node.shared_devices} for node in nodes}

    def place(self, demand: Demand) -> Placement | None:
        """A place, taken at once; None if there is none."""
        for node_id, free in self._free.items():
            if self._memory[node_id] < demand.memory_bytes:
                continue
            devices = self._share(node_id, demand) if demand.gpu_share_bytes else self._whole(free, demand)
            if devices is not None:
                self._memory[node_id] -= demand.memory_bytes
                taken = {device.device_id for device in devices}
                self._free[node_id] = [device for device in free if device.device_id not in taken]
                return Placement(
                    node_id=node_id, device_ids=tuple(sorted(taken)), share_bytes=demand.gpu_share_bytes, why=""
                )
        return None

    def give_back(self, demand: Demand, placement: Placement, devices: Sequence[DeviceState]) -> None:
        """What a replica held is free again."""
        self._memory[placement.node_id] += demand.memory_bytes
        for device in devices:
            held = self._shared[placement.node_id].pop(device.device_id, None)
            used = held.used_memory_bytes - placement.share_bytes if held else 0
            if used:
                assert held is not None
                self._shared[placement.node_id][device.device_id] = dataclasses.replace(held, used_memory_bytes=used)
            else:
                self._free[placement.node_id].append(device)

    def _whole(self, free: Sequence[DeviceState], demand: Demand) -> list[DeviceState] | None:
        usable = [device for device in free if not device.is_slice][: demand.gpus]
        return usable if len(usable) == demand.gpus else None

    def _share(self, node_id: str, demand: Demand) -> list[DeviceState] | None:
        shared = self._shared[node_id]
        ours = [device for device in shared.values() if device.organization_id == demand.organization_id]
        for device in (*ours, *self._free[node_id]):
            if device.free_bytes >= demand.gpu_share_bytes:
                shared[device.device_id] = dataclasses.replace(
                    device,
                    used_memory_bytes=device.used_memory_bytes + demand.gpu_share_bytes,
                    organization_id=demand.organization_id,
                )
                return [device]
        return None
