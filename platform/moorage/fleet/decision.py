"""Who goes where, in whose turn: a pure decision over everybody who waits. It can say why."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from moorage.fleet import preemption, refusals
from moorage.fleet.board import Board, Fit
from moorage.fleet.placement import Demand, IdleReplica, NodeState, Placement, Policy, Refusal

#: Whoever has waited longest of its priority, and for so long, comes before larger ones and is kept a node, unless the
#: operator says otherwise. Long, because a node that is kept stands partly empty: README.md has what less costs.
PATIENCE: Final = dt.timedelta(hours=18)
#: The ways to fill the pool that are tried, the one preferred first. Who spreads does not ask for density.
_FITS: Final[Mapping[Policy, Sequence[Fit]]] = {"pack": ("pack", "first"), "spread": ("spread",)}

#: Where somebody stands among those who wait.
Turn = tuple[int | bool | dt.timedelta | str, ...]
#: Bytes of devices, then bytes of memory, given to each class of the turn (priority, patience), the first one first.
Given = list[tuple[int, int]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asker:
    """A replica that needs a place, and for how long it has."""

    replica_id: str
    demand: Demand
    waited: dt.timedelta = dt.timedelta()

    @property
    def turn(self) -> Turn:
        """Sorts those who wait: priority, size (large ones are the hardest to place), long waits.

        Memory is a size for those without a device; among others it decides between those who came together."""
        return self._turn(is_eldest=False)

    @property
    def eldest_turn(self) -> Turn:
        """Where it stands when it has waited longest, and too long: first of its priority."""
        return self._turn(is_eldest=True)

    def _turn(self, *, is_eldest: bool) -> Turn:
        demand = self.demand
        memory = -demand.memory_bytes
        size = (not demand.is_all_gpus, -demand.gpus, -demand.gpu_share_bytes, 0 if demand.wants_device else memory)
        return (-demand.priority, not is_eldest, *size, -self.waited, memory, self.replica_id)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A place for everybody who waits and fits, each in turn: what would be if all of them asked now."""

    places: Mapping[str, Placement]  #: by replica
    claimed_for: str  #: the replica that one node is kept for; empty: nobody
    in_turn: Sequence[str]  #: everybody who asked, the first one first


def place(
    demand: Demand, nodes: Sequence[NodeState], *, policy: Policy = "pack", idle: Sequence[IdleReplica] = ()
) -> Placement | Refusal:
    """The best node for ``demand`` alone, or what would fit instead."""
    return decide(Asker(replica_id="", demand=demand), (), nodes, policy=policy, idle=idle)


def decide(
    asker: Asker,
    waiting: Iterable[Asker],
    nodes: Sequence[NodeState],
    *,
    policy: Policy = "pack",
    patience: dt.timedelta = PATIENCE,
    idle: Sequence[IdleReplica] = (),
) -> Placement | Refusal:
    """Where ``asker`` goes when all those go first whose turn comes before its own.

    1. Everybody who waits gets a place in the densest plan, though it is not given now: they ask for themselves.
    2. The asker gets its place in that plan.
    3. Else the room of those in ``idle`` that must make way for it (``Placement.preempts``).
    4. Else the reason, and what would fit.
    """
    others = [other for other in waiting if other.replica_id != asker.replica_id]
    plan = densest([*others, asker], nodes, policy=policy, patience=patience)
    found = plan.places.get(asker.replica_id)
    if found is not None:
        return found
    if (making_way := preemption.find(asker.demand, nodes, idle)) is not None:
        return making_way
    served = {*plan.places, plan.claimed_for}
    ahead = sum(replica_id in served for replica_id in plan.in_turn[: plan.in_turn.index(asker.replica_id)])
    return refusals.explain(asker.demand, nodes, others_ahead=ahead if _fits_alone(asker.demand, nodes) else 0)


def densest(
    askers: Iterable[Asker], nodes: Sequence[NodeState], *, policy: Policy = "pack", patience: dt.timedelta = PATIENCE
) -> Plan:
    """The plan that gives the most to the first class of the turn in which plans differ; of equals, the policy's own.

    Packing by weights and by what is in use is best over time, and now and then not for those who wait at this moment.
    First fit in the same turns is therefore tried as well: with everybody of one class it is first-fit-decreasing.
    Whoever is first of those who fit has a place in each plan, so nobody is overtaken from one decision to the next.
    """
    in_turn = _in_turn(askers, patience)
    # A device counts alike wherever it is: giving a larger one than was asked for makes nothing denser.
    device_bytes = max((kind.memory_bytes for node in nodes for kind in node.kinds if not kind.is_slice), default=1)
    # One alone has a place in every plan or in none, and nobody to keep a node from.
    alike = _by_shape(nodes) if len(in_turn) > 1 else []
    best: tuple[Given, Plan] | None = None
    for fit in _FITS[policy]:
        plan = _take_turns(Board(nodes, policy=fit), in_turn, alike)
        given = _given(plan, in_turn, device_bytes)
        if best is None or given > best[0]:
            best = (given, plan)
        left_out = [asker.demand for _, asker in in_turn if asker.replica_id not in plan.places]
        if not any(refusals.could_hold(demand, like[0]) for demand in left_out for like in alike):
            break
    assert best is not None
    return best[1]


def _in_turn(askers: Iterable[Asker], patience: dt.timedelta) -> list[tuple[Turn, Asker]]:
    """Everybody by turn; in each priority the one who has waited longest goes first, from ``patience`` on.

    One alone goes before larger ones, and each of them becomes the eldest one day: nobody starves behind its equals.
    """
    everybody = list(askers)
    eldest: dict[int, Asker] = {}
    for asker in everybody:
        priority = asker.demand.priority
        if asker.waited >= patience and (priority not in eldest or _age(asker) > _age(eldest[priority])):
            eldest[priority] = asker
    first = {asker.replica_id for asker in eldest.values()}
    turns = ((asker.eldest_turn if asker.replica_id in first else asker.turn, asker) for asker in everybody)
    return sorted(turns, key=lambda entry: entry[0])


def _age(asker: Asker) -> tuple[dt.timedelta, str]:
    return (asker.waited, asker.replica_id)


def _take_turns(board: Board, in_turn: Sequence[tuple[Turn, Asker]], alike: Sequence[Sequence[NodeState]]) -> Plan:
    """Everybody's place on ``board``, in this order.

    The first of the eldest that fits nowhere claims the node that lacks least: small ones would keep it out.
    """
    places: dict[str, Placement] = {}
    claimed_for = ""
    for turn, other in in_turn:
        placement = board.place(other.demand)
        if placement is not None:
            places[other.replica_id] = placement
        elif not turn[1] and not claimed_for:
            node = _nearest(other.demand, board, alike)
            if node is not None:
                board.claim(node.node_id)
                claimed_for = other.replica_id
    return Plan(places=places, claimed_for=claimed_for, in_turn=[other.replica_id for _, other in in_turn])


def _given(plan: Plan, in_turn: Iterable[tuple[Turn, Asker]], device_bytes: int) -> Given:
    given: dict[Turn, tuple[int, int]] = {}
    for turn, asker in in_turn:
        devices, memory = given.get(turn[:2], (0, 0))
        placement = plan.places.get(asker.replica_id)
        if placement is not None:
            devices += placement.share_bytes or len(placement.device_ids) * device_bytes
            memory += asker.demand.memory_bytes
        given[turn[:2]] = (devices, memory)
    return list(given.values())


def _by_shape(nodes: Sequence[NodeState]) -> list[list[NodeState]]:
    """Open nodes by what they could hold if they were empty: most of a pool is alike."""
    shapes: dict[tuple[object, ...], list[NodeState]] = {}
    for node in nodes:
        if node.is_open:
            shape = (node.kinds, node.memory_bytes, node.cpu_millis, node.labels, node.taints)
            shapes.setdefault(shape, []).append(node)
    return list(shapes.values())


def _nearest(demand: Demand, board: Board, shapes: Iterable[Sequence[NodeState]]) -> NodeState | None:
    """Of the nodes that could hold it if they were empty, the one with the most free of what it needs."""
    able = [node for alike in shapes if refusals.could_hold(demand, alike[0]) for node in alike]
    if not able:
        return None
    return max(
        able,
        key=lambda node: (
            board.spots[node.node_id].whole_count if demand.wants_device else 0,
            board.spots[node.node_id].free_memory,
            node.name,
        ),
    )


def _fits_alone(demand: Demand, nodes: Sequence[NodeState]) -> bool:
    return Board(nodes).place(demand) is not None
