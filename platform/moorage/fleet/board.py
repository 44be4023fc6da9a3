"""The pool as it would be after some decisions: what is free, kept in the order in which it would be taken. Pure.

Nodes stand in sorted lists, so that the first one that fits is the best one: a decision looks at a few nodes.
``pack`` takes the first in use by name, ``spread`` the emptiest, ``first`` the first by name, in use or not.
"""

import bisect
import dataclasses
import heapq
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from moorage.fleet.placement import GIB, ORGANIZATION_TAINT, Demand, DeviceState, NodeState, Placement
from moorage.fleet.spot import Key, Spot, smallest_first

#: How one of the nodes that fit is chosen: as the operator wants it, or by plain first fit, warm weights or not.
Fit = Literal["pack", "spread", "first"]
_WHY: Final[dict[Fit, str]] = {
    "pack": "the first node in use that has room",
    "spread": "the emptiest node",
    "first": "the first node that has room, so that more of those who wait get a place",
}


class Board:
    """Open nodes with what is free on them; :meth:`take` changes it."""

    def __init__(self, nodes: Iterable[NodeState], *, policy: Fit = "pack") -> None:
        self.policy: Final = policy
        is_by_name = policy == "first"
        self.spots: Final = {node.node_id: Spot(node, is_by_name=is_by_name) for node in nodes if node.is_open}
        self._by_devices: Final = sorted((spot.gpu_key, spot) for spot in self.spots.values() if spot.node.kinds)
        self._by_memory: Final = sorted((spot.cpu_key, spot) for spot in self.spots.values())
        self._warm: Final[dict[str, list[Spot]]] = {}
        self._own: Final[dict[str, list[Spot]]] = {}
        self._shared: Final[dict[str, dict[str, Spot]]] = {}
        # By what decides: the least memory with which it was refused. A board only gets fuller, until give_back().
        self._refused: Final[dict[tuple[object, ...], int]] = {}
        self._claimed: Final[set[str]] = set()
        self._sliced: Final = [spot for spot in self.spots.values() if any(kind.is_slice for kind in spot.node.kinds)]
        for spot in self.spots.values():
            # Plain first fit asks for no warm weights.
            for digest in spot.digests if not is_by_name else ():
                self._warm.setdefault(digest, []).append(spot)
            for name, value in spot.node.taints:
                if name == ORGANIZATION_TAINT:
                    self._own.setdefault(value, []).append(spot)
            for device in spot.shared.values():
                self._shared.setdefault(device.organization_id, {})[device.device_id] = spot

    def claim(self, node_id: str) -> None:
        """Keep everybody who comes later off this node."""
        self._claimed.add(node_id)

    def place(self, demand: Demand) -> Placement | None:
        """The best place that is left, and the board without it; None if there is none."""
        alike = self._shape(demand)
        if demand.memory_bytes >= self._refused.get(alike, demand.memory_bytes + 1):
            return None
        found = self._find(demand)
        if found is None:
            # Those who come after it mostly need less memory: where devices are what lacks, they need not be tried.
            is_in_vain = demand.wants_device and self._find(dataclasses.replace(demand, memory_bytes=0)) is None
            self._refused[alike] = 0 if is_in_vain else demand.memory_bytes
            return None
        return self.take(demand, *found)

    def _shape(self, demand: Demand) -> tuple[object, ...]:
        """Everything but memory that decides whether there is a place."""
        # Whose it is decides only where something is shared or its organization's own.
        owner = demand.organization_id
        owner = owner if demand.gpu_share_bytes or owner in self._own else ""
        devices = (demand.gpus, demand.is_all_gpus, demand.gpu_memory_bytes, demand.gpu_total_bytes)
        return (*devices, demand.gpu_share_bytes, demand.heads, demand.labels, owner, demand.cpu_millis)

    def _find(self, demand: Demand) -> tuple[Spot, tuple[DeviceState, ...]] | None:
        if demand.gpu_share_bytes:
            return self._find_share(demand)
        if not demand.wants_device:
            spot = self._first(demand, self._with_memory(demand.memory_bytes))
            return None if spot is None else (spot, ())
        for with_slices in (False, True):
            if with_slices and (demand.is_all_gpus or demand.gpus > 1 or not self._sliced):
                break
            count = 1 if demand.is_all_gpus else demand.gpus
            open_spots: Iterable[Spot] = (
                self._with_slices() if with_slices else self._with_devices(count, demand.memory_bytes)
            )
            spot = self._first(demand, open_spots, with_slices=with_slices)
            if spot is not None:
                return spot, spot.devices_for(demand, with_slices=with_slices) or ()
        return None

    def take(self, demand: Demand, spot: Spot, devices: tuple[DeviceState, ...]) -> Placement:
        """Put ``demand`` on ``spot`` with these devices, whole or in a share, and say why there."""
        placement = Placement(
            node_id=spot.node.node_id,
            device_ids=tuple(device.device_id for device in devices),
            share_bytes=demand.gpu_share_bytes,
            why=self._why(demand, spot, devices, is_warm=demand.digest in spot.digests),
        )
        if demand.digest and demand.digest not in spot.digests:
            spot.digests.add(demand.digest)
            self._warm.setdefault(demand.digest, []).append(spot)
        self._move(spot, is_out=True)
        spot.free_memory -= demand.memory_bytes
        spot.used_cpu += demand.cpu_millis
        taken = {device.device_id for device in devices}
        spot.free = [device for device in spot.free if device.device_id not in taken]
        for device in devices if demand.gpu_share_bytes else ():
            self._put_share(spot, device, device.used_memory_bytes + demand.gpu_share_bytes, demand.organization_id)
        self._move(spot, is_out=False)
        return placement

    def give_back(self, demand: Demand, placement: Placement, devices: Iterable[DeviceState]) -> None:
        """Undo :meth:`take`; ``devices`` as they are when nobody holds them."""
        self._refused.clear()
        spot = self.spots[placement.node_id]
        self._move(spot, is_out=True)
        spot.free_memory += demand.memory_bytes
        spot.used_cpu -= demand.cpu_millis
        for device in devices:
            used = (
                spot.shared[device.device_id].used_memory_bytes - placement.share_bytes if placement.share_bytes else 0
            )
            if used:
                self._put_share(spot, device, used, demand.organization_id)
            else:
                if spot.shared.pop(device.device_id, None) is not None:
                    del self._shared[demand.organization_id][device.device_id]
                bisect.insort(spot.free, device, key=smallest_first)
        self._move(spot, is_out=False)

    def _put_share(self, spot: Spot, device: DeviceState, used: int, organization_id: str) -> None:
        spot.shared[device.device_id] = DeviceState(
            device_id=device.device_id,
            memory_bytes=device.memory_bytes,
            name=device.name,
            is_slice=device.is_slice,
            used_memory_bytes=used,
            organization_id=organization_id,
        )
        self._shared.setdefault(organization_id, {})[device.device_id] = spot

    def _move(self, spot: Spot, *, is_out: bool) -> None:
        """Takes a node out of the lists before it changes, and puts it where it belongs after."""
        if not is_out:
            spot.rank()
        for key, entries in ((spot.gpu_key, self._by_devices), (spot.cpu_key, self._by_memory)):
            if entries is self._by_devices and not spot.node.kinds:
                continue
            at = bisect.bisect_left(entries, (key,))
            if is_out:
                del entries[at]
            else:
                entries.insert(at, (key, spot))

    def _with_memory(self, memory_bytes: int) -> Iterator[Spot]:
        """Nodes with so much free memory: those without devices first, then by what is free."""
        entries = self._by_memory
        for has_devices in (False, True):
            at = bisect.bisect_left(entries, ((has_devices,),))
            while at < len(entries) and entries[at][0][0] == has_devices:
                if entries[at][1].free_memory < memory_bytes:
                    break
                yield entries[at][1]
                at += 1

    def _with_devices(self, count: int, memory_bytes: int) -> Iterator[Spot]:
        """Nodes with at least so many free devices and so much free memory, in the policy's order."""
        entries = self._by_devices
        at = bisect.bisect_left(entries, ((count,),))
        if self.policy == "spread":
            found: Iterable[tuple[Key, Spot]] = reversed(entries[at:])
        else:
            # The lists of nodes with equally many free devices, merged by name, those that are empty last: what is
            # taken again and again stays taken, and the last nodes stay whole for those who need one whole.
            groups = []
            while at < len(entries):
                end = bisect.bisect_left(entries, ((int(entries[at][0][0]) + 1,),), at)
                groups.append(entries[at:end])
                at = end
            found = groups[0] if len(groups) == 1 else heapq.merge(*groups, key=lambda entry: entry[0][1:])
        return (spot for _, spot in found if spot.free_memory >= memory_bytes)

    def _with_slices(self) -> list[Spot]:
        """Nodes with a free slice, in the policy's order: few of a large pool."""
        found = [spot for spot in self._sliced if spot.slice_count]
        if self.policy == "spread":
            return sorted(found, key=lambda spot: spot.gpu_key, reverse=True)
        return sorted(found, key=lambda spot: spot.gpu_key[1:])

    def _first(self, demand: Demand, spots: Iterable[Spot], *, with_slices: bool = False) -> Spot | None:
        """The first that fits: of the organization's own nodes, else of those that have the weights, else of ``spots``.

        ``with_slices`` says whether slices count: to be held whole, or to cut a share from one and from nothing else.
        """

        # Looked at before the devices are: of a large pool, few nodes have what this pass is about.
        is_of_slices = with_slices

        def fits(spot: Spot) -> bool:
            if spot.free_memory < demand.memory_bytes or spot.node.node_id in self._claimed:
                return False
            if demand.wants_device and not (spot.slice_count if is_of_slices else spot.whole_count):
                return False
            if demand.gpu_share_bytes:
                return spot.device_to_open(demand, with_whole=not with_slices) is not None and spot.has_room(demand)
            if demand.wants_device:
                return spot.devices_for(demand, with_slices=with_slices) is not None and spot.has_room(demand)
            return spot.has_room(demand)

        warm = self._warm.get(demand.digest, ()) if self.policy != "first" else ()
        for better in (self._own.get(demand.organization_id, ()), warm):
            fitting = [spot for spot in better if fits(spot)]
            if fitting:
                return self._best(demand, fitting)
        return next((spot for spot in spots if fits(spot)), None)

    def _best(self, demand: Demand, spots: list[Spot]) -> Spot:
        if not demand.wants_device:
            return min(spots, key=lambda spot: spot.cpu_key)
        if self.policy == "spread":
            return max(spots, key=lambda spot: spot.gpu_key)
        return min(spots, key=lambda spot: spot.gpu_key[1:])

    def _find_share(self, demand: Demand) -> tuple[Spot, tuple[DeviceState, ...]] | None:
        """Beside the organization's own on a device that they share already; else on a free one."""
        found = self._to_join(demand)
        if found is None or self.policy == "first":
            opened = self._to_open(demand)
            if found is None or (opened and opened[0].node.name < found[0].node.name):
                found = opened
        return found and (found[0], (found[1],))

    def _to_join(self, demand: Demand) -> tuple[Spot, DeviceState] | None:
        """The device that its organization shares already with the least room that suffices."""
        joined: list[tuple[tuple[bool | int | str, ...], Spot, DeviceState]] = []
        for device_id, spot in self._shared.get(demand.organization_id, {}).items():
            device = spot.shared[device_id]
            left = device.free_bytes - demand.gpu_share_bytes
            if left >= 0 and spot.node.node_id not in self._claimed and spot.has_room(demand):
                by_fit = (demand.digest not in spot.digests, left, device_id)
                joined.append(((spot.node.name, device_id) if self.policy == "first" else by_fit, spot, device))
        return min(joined, key=lambda entry: entry[0])[1:] if joined else None

    def _to_open(self, demand: Demand) -> tuple[Spot, DeviceState] | None:
        """The free device that it would be the first on: a slice before a whole one."""
        found: list[tuple[Spot, DeviceState]] = []
        for with_slices in (True, False) if self._sliced else (False,):
            open_spots: Iterable[Spot] = (
                self._with_slices() if with_slices else self._with_devices(1, demand.memory_bytes)
            )
            spot = self._first(demand, open_spots, with_slices=with_slices)
            device = spot and spot.device_to_open(demand, with_whole=not with_slices)
            if spot and device:
                found.append((spot, device))
                if self.policy != "first":
                    break
        return min(found, key=lambda entry: entry[0].node.name) if found else None

    def _why(self, demand: Demand, spot: Spot, devices: tuple[DeviceState, ...], *, is_warm: bool) -> str:
        node = spot.node
        parts = [f"{node.name} has {spot.free_memory / GIB:.1f} GiB free of {node.memory_bytes / GIB:.1f} GiB"]
        if demand.gpu_share_bytes:
            (device,) = devices
            share = f"{demand.gpu_share_bytes / GIB:.1f} of {device.memory_bytes / GIB:.1f} GiB"
            beside = " beside others of its organization" if device.used_memory_bytes else ""
            parts.append(f"it gets {share} of one {device.name or 'device'}{beside}")
        elif devices:
            names = devices[0].name or "device"
            parts.append(f"it gets {len(devices)} x {names} of {len(spot.free)} free")
        if (ORGANIZATION_TAINT, demand.organization_id) in node.taints:
            parts.append("its organization's own")
        elif is_warm:
            parts.append("the weights are there")
        elif demand.wants_device:
            parts.append(_WHY[self.policy])
        else:
            parts.append("the most free memory")
        return "; ".join(parts)
