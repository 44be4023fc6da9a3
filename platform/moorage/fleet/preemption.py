"""Which replicas that nobody calls would have to be put away so that another one has room. Pure.

A replica makes way for one of a higher priority as soon as nobody calls it, and for one of its own priority when it is
asleep already. A replica that answers somebody makes way for nobody. What is on its way out already is waited for
before anybody else is put away.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from moorage.fleet.board import Board
from moorage.fleet.placement import Demand, IdleReplica, NodeState, Placement


def find(demand: Demand, nodes: Sequence[NodeState], idle: Sequence[IdleReplica]) -> Placement | None:
    """The place that costs least: the lowest priority put away, then the fewest replicas, then the least memory."""
    best: tuple[tuple[int, int, int, str], Placement] | None = None
    by_node: dict[str, list[IdleReplica]] = {}
    for replica in idle:
        if _may_be_had(replica, demand):
            by_node.setdefault(replica.node_id, []).append(replica)
    for node in nodes:
        candidates = by_node.get(node.node_id)
        if candidates and node.is_open and not node.keeps_out(demand):
            chosen = _fewest(demand, node, candidates)
            if chosen is not None:
                placement, replicas = chosen
                put_away = [replica for replica in replicas if not replica.is_leaving]
                cost = (
                    max((replica.priority for replica in put_away), default=-1),
                    len(put_away),
                    sum(replica.memory_bytes for replica in put_away),
                    node.name,
                )
                if best is None or cost < best[0]:
                    best = (cost, placement)
    return best and best[1]


def _may_be_had(replica: IdleReplica, demand: Demand) -> bool:
    is_equal = replica.is_asleep and replica.priority == demand.priority
    return replica.is_leaving or is_equal or replica.priority < demand.priority


def _fewest(
    demand: Demand, node: NodeState, candidates: Iterable[IdleReplica]
) -> tuple[Placement, list[IdleReplica]] | None:
    """Adds replicas, the cheapest first, until there is room; then leaves out those that were not needed after all."""
    chosen: list[IdleReplica] = []
    placement: Placement | None = None
    for replica in sorted(candidates, key=_cheapest_first):
        chosen.append(replica)
        placement = Board([without(node, chosen)]).place(demand)
        if placement is not None:
            break
    if placement is None:
        return None
    for replica in sorted(chosen, key=lambda one: (one.is_leaving, _size(one))):
        fewer = [other for other in chosen if other is not replica]
        if fewer and (without_it := Board([without(node, fewer)]).place(demand)) is not None:
            chosen, placement = fewer, without_it
    names = tuple(sorted(replica.replica_id for replica in chosen))
    why = f"{placement.why}; {len(names)} that nobody calls make way"
    return dataclasses.replace(placement, preempts=names, why=why), chosen


def _cheapest_first(replica: IdleReplica) -> tuple[bool, int, bool, int, str]:
    return (not replica.is_leaving, replica.priority, not replica.is_asleep, -_size(replica), replica.replica_id)


def without(node: NodeState, replicas: Iterable[IdleReplica]) -> NodeState:
    """The node as it would be when these replicas are put away."""
    free = list(node.free_devices)
    shared = {device.device_id: device for device in node.shared_devices}
    given_back = 0
    for replica in replicas:
        given_back += replica.memory_bytes
        free += replica.devices
        for device_id, size in replica.shares:
            shared[device_id] = dataclasses.replace(
                shared[device_id], used_memory_bytes=shared[device_id].used_memory_bytes - size
            )
    emptied = [device for device in shared.values() if not device.used_memory_bytes]
    free += [dataclasses.replace(device, organization_id="") for device in emptied]
    return dataclasses.replace(
        node,
        used_memory_bytes=node.used_memory_bytes - given_back,
        free_devices=tuple(free),
        shared_devices=tuple(device for device in shared.values() if device.used_memory_bytes),
    )


def _size(replica: IdleReplica) -> int:
    on_devices = sum(device.memory_bytes for device in replica.devices) + sum(size for _, size in replica.shares)
    return on_devices + replica.memory_bytes
