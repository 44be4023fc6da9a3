"""Who goes where, in whose turn: a pure decision over everybody who waits. It can say why."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from moorage.fleet import preemption, refusals
from moorage.fleet.board import Board, Fit
from moorage.fleet.placement import Demand, IdleReplica, NodeState, Placement, Policy, Refusal

#: Who has waited for so long comes before larger ones of its priority, and one node is kept for the first of them.
PATIENCE: Final = dt.timedelta(minutes=5)
#: The ways to fill the pool that are tried, the one preferred first. Who spreads does not ask for density.
_FITS: Final[Mapping[Policy, Sequence[Fit]]] = {"pack": ("pack", "first"), "spread": ("spread",)}

#: Where somebody stands among those who wait.
Turn = tuple[int | bool | dt.timedelta | str, ...]
#: Bytes of devices, then bytes of memory, given to each class of the turn (priority, long wait), the first one first.
Given = list[tuple[int, int]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asker:
    """A replica that needs a place, and for how long it has."""

    replica_id: str
    demand: Demand
    waited: dt.timedelta = dt.timedelta()

    @property
    def is_impatient(self) -> bool:
        """Whether it has waited long enough to come before larger ones."""
        return self.waited >= PATIENCE

    @property
    def turn(self) -> Turn:
        """Sorts those who wait: priority, long waits, size: large ones are the hardest to place."""
        demand = self.demand
        size = (not demand.is_all_gpus, -demand.gpus, -demand.gpu_share_bytes, -demand.memory_bytes)
        return (-demand.priority, not self.is_impatient, *size, -self.waited, self.replica_id)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A place for everybody who waits and fits, each in turn: what would be if all of them asked now."""

    places: Mapping[str, Placement]  #: by replica
    claimed_for: str  #: the replica that one node is kept for; empty: nobody


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
    idle: Sequence[IdleReplica] = (),
) -> Placement | Refusal:
    """Where ``asker`` goes when all those go first whose turn comes before its own.

    1. Everybody who waits gets a place in the densest plan, though it is not given now: they ask for themselves.
    2. The asker gets its place in that plan.
    3. Else the room of those in ``idle`` that must make way for it (``Placement.preempts``).
    4. Else the reason, and what would fit.
    """
    others = [other for other in waiting if other.replica_id != asker.replica_id]
    plan = densest([*others, asker], nodes, policy=policy)
    found = plan.places.get(asker.replica_id)
    if found is not None:
        return found
    if (making_way := preemption.find(asker.demand, nodes, idle)) is not None:
        return making_way
    served = {*plan.places, plan.claimed_for}
    ahead = sum(other.replica_id in served and other.turn < asker.turn for other in others)
    return refusals.explain(asker.demand, nodes, others_ahead=ahead if _fits_alone(asker.demand, nodes) else 0)


def densest(askers: Iterable[Asker], nodes: Sequence[NodeState], *, policy: Policy = "pack") -> Plan:
    """The plan that gives the most to the first class of the turn in which plans differ; of equals, the policy's own.

    Packing by weights and by what is in use is best over time, and now and then not for those who wait at this moment.
    First fit in the same turns is therefore tried as well: with everybody of one class it is first-fit-decreasing.
    Whoever is first of those who fit has a place in each plan, so nobody is overtaken from one decision to the next.
    """
    in_turn = sorted(((asker.turn, asker) for asker in askers), key=lambda entry: entry[0])
    # A device counts alike wherever it is: giving a larger one than was asked for makes nothing denser.
    device_bytes = max((kind.memory_bytes for node in nodes for kind in node.kinds if not kind.is_slice), default=1)
    # One alone has a place in every plan or in none, and nobody to keep a node from.
    alike = _by_shape(nodes) if len(in_turn) > 1 else []
    best: tuple[Given, Plan] | None = None
    for fit in _FITS[policy]:
        plan = _take_turns(Board(nodes, policy=fit), [asker for _, asker in in_turn], alike)
        given = _given(plan, in_turn, device_bytes)
        if best is None or given > best[0]:
            best = (given, plan)
        left_out = [asker.demand for _, asker in in_turn if asker.replica_id not in plan.places]
        if not any(refusals.could_hold(demand, like[0]) for demand in left_out for like in alike):
            break
    assert best is not None
    return best[1]


def _take_turns(board: Board, in_turn: Iterable[Asker], alike: Sequence[Sequence[NodeState]]) -> Plan:
    """Everybody's place on ``board``, in this order.

    The largest that has waited long and fits nowhere claims the node that lacks least: small ones would keep it out.
    """
    places: dict[str, Placement] = {}
    claimed_for = ""
    for other in in_turn:
        placement = board.place(other.demand)
        if placement is not None:
            places[other.replica_id] = placement
        elif other.is_impatient and not claimed_for:
            node = _nearest(other.demand, board, alike)
            if node is not None:
                board.claim(node.node_id)
                claimed_for = other.replica_id
    return Plan(places=places, claimed_for=claimed_for)


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
