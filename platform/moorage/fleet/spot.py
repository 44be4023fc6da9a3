"""One node of a board: what is free on it, and where it stands among the others. Pure."""

from typing import Final

from moorage.fleet.placement import Demand, DeviceState, NodeState

#: Where a node stands in a list. The name comes last and makes it unique, so that the answer is always the same.
Key = tuple[int | float | bool | str, ...]


class Spot:
    """One node of the board and what is free on it."""

    __slots__ = (
        *("cpu_key", "digests", "free", "free_memory", "gpu_key", "node", "shared", "slice_count", "used_cpu"),
        *("is_by_name", "whole_count"),
    )

    def __init__(self, node: NodeState, *, is_by_name: bool = False) -> None:
        self.node: Final = node
        self.is_by_name: Final = is_by_name  #: an empty node stands among those in use, not behind them
        self.free_memory = node.free_memory_bytes
        self.used_cpu = node.used_cpu_millis
        self.free = sorted(node.free_devices, key=smallest_first)
        self.digests = set(node.digests)
        self.shared = {device.device_id: device for device in node.shared_devices}
        self.rank()

    def rank(self) -> None:
        """Brings its places in the lists up to date."""
        node = self.node
        self.whole_count = sum(not device.is_slice for device in self.free)
        self.slice_count = len(self.free) - self.whole_count
        is_empty = self.whole_count == node.device_count and not self.shared and not self.is_by_name
        self.gpu_key: Key = (len(self.free), is_empty, node.name)
        self.cpu_key: Key = (bool(node.kinds), -self.free_memory, self.used_cpu / node.cpu_millis, node.name)

    def devices_for(self, demand: Demand, *, with_slices: bool) -> tuple[DeviceState, ...] | None:
        """Free devices that ``demand`` would hold whole: equal ones, the smallest that are large enough."""
        if demand.is_all_gpus:
            count = self.node.device_count
            if not count or self.whole_count != count or len({d.name for d in self.free if not d.is_slice}) > 1:
                return None
        else:
            count = demand.gpus
        if not demand.can_use(count):
            return None
        needed = demand.each_device_needs(count)
        kinds: dict[tuple[bool, str], list[DeviceState]] = {}
        for device in self.free:
            if device.memory_bytes >= needed and (not device.is_slice or (with_slices and count == 1)):
                found = kinds.setdefault((device.is_slice, device.name), [])
                found.append(device)
                if len(found) == count:
                    return tuple(found)
        return None

    def device_to_open(self, demand: Demand, *, with_whole: bool) -> DeviceState | None:
        """The free device that a share would be cut from: the smallest slice that suffices, or whole device."""
        fitting = [
            device
            for device in self.free
            if device.memory_bytes >= demand.gpu_share_bytes and device.is_slice != with_whole
        ]
        return min(fitting, key=lambda device: device.memory_bytes) if fitting else None

    def has_room(self, demand: Demand) -> bool:
        """Whether its memory and CPUs suffice and nothing of its labels and taints stands against it."""
        node = self.node
        return (
            self.free_memory >= demand.memory_bytes
            and node.cpu_millis >= demand.cpu_millis
            and not ((node.taints or demand.labels) and node.keeps_out(demand))
        )


def smallest_first(device: DeviceState) -> tuple[bool, int]:
    """Sorts devices: whole ones before slices, small ones before large ones."""
    return (device.is_slice, device.memory_bytes)
