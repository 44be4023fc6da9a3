"""Who holds what of an emulated pool as its day passes, and whether anything was ever held twice. Pure.

It is kept apart from the rules that place, so that a rule that errs is found out. The pool as it is at a moment is read
from it, in the form in which decisions are made on the real one.
"""

import dataclasses
from collections.abc import Sequence

from moorage.fleet.placement import Demand, DeviceState, NodeState, Placement


class Book:
    """What was given and not yet given back, over nodes that were empty."""

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        self._nodes = {node.node_id: node for node in nodes}
        self._memory = dict.fromkeys(self._nodes, 0)
        self._cpu = dict.fromkeys(self._nodes, 0)
        self._devices = {device.device_id: device for node in nodes for device in node.free_devices}
        self._node_of = {device.device_id: node.node_id for node in nodes for device in node.free_devices}
        self._held: dict[str, list[tuple[str, int]]] = {device_id: [] for device_id in self._devices}
        self._digests: dict[str, set[str]] = {node_id: set() for node_id in self._nodes}
        self._states = dict(self._nodes)
        self._stale: set[str] = set()
        self.capacity = sum(device.memory_bytes for device in self._devices.values())
        self.used = 0
        self.warm = 0
        self.violations: list[str] = []

    def nodes(self) -> list[NodeState]:
        """Every node as it is now."""
        for node_id in self._stale:
            self._states[node_id] = self._state(self._nodes[node_id])
        self._stale.clear()
        return list(self._states.values())

    def enter(self, demand: Demand, placement: Placement) -> None:
        """Write down what was given, and what is wrong with it."""
        node = self._nodes[placement.node_id]
        self._stale.add(node.node_id)
        self._memory[node.node_id] += demand.memory_bytes
        self._cpu[node.node_id] += demand.cpu_millis
        if self._memory[node.node_id] > node.memory_bytes:
            self.violations.append(f"{node.name}: memory oversold")
        if not demand.gpu_share_bytes and len(placement.device_ids) != demand.gpus:
            self.violations.append(f"{node.name}: {len(placement.device_ids)} devices for {demand.gpus}")
        for device_id in placement.device_ids:
            size = demand.gpu_share_bytes or self._devices[device_id].memory_bytes
            self._held[device_id].append((demand.organization_id, size))
            self.used += size
            held = self._held[device_id]
            if sum(each for _, each in held) > self._devices[device_id].memory_bytes:
                self.violations.append(f"{device_id}: oversold")
            if len({organization for organization, _ in held}) > 1:
                self.violations.append(f"{device_id}: two organizations")
            if self._node_of[device_id] != node.node_id:
                self.violations.append(f"{device_id}: not of {node.name}")
            if self._devices[device_id].is_slice and len(placement.device_ids) > 1:
                self.violations.append(f"{device_id}: a model over several slices")
        self.warm += demand.digest in self._digests[node.node_id]
        self._digests[node.node_id].add(demand.digest)

    def leave(self, demand: Demand, placement: Placement) -> list[DeviceState]:
        """Cross it out; the devices it was on, as they are when nobody holds them."""
        self._stale.add(placement.node_id)
        self._memory[placement.node_id] -= demand.memory_bytes
        self._cpu[placement.node_id] -= demand.cpu_millis
        for device_id in placement.device_ids:
            size = demand.gpu_share_bytes or self._devices[device_id].memory_bytes
            self._held[device_id].remove((demand.organization_id, size))
            self.used -= size
        return [self._devices[device_id] for device_id in placement.device_ids]

    def _state(self, node: NodeState) -> NodeState:
        free: list[DeviceState] = []
        shared: list[DeviceState] = []
        for device in node.free_devices:
            held = self._held[device.device_id]
            if not held:
                free.append(device)
            elif (used := sum(size for _, size in held)) < device.memory_bytes:
                shared.append(dataclasses.replace(device, used_memory_bytes=used, organization_id=held[0][0]))
        return dataclasses.replace(
            node,
            used_memory_bytes=self._memory[node.node_id],
            used_cpu_millis=self._cpu[node.node_id],
            free_devices=tuple(free),
            shared_devices=tuple(shared),
            digests=frozenset(self._digests[node.node_id]),
        )
