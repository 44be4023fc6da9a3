"""Who goes where, in whose turn: a pure decision over everybody who waits. It can say why."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from moorage.fleet import preemption, refusals
from moorage.fleet.board import Board
from moorage.fleet.placement import Demand, IdleReplica, NodeState, Placement, Policy, Refusal

#: Who has waited for so long comes before larger ones of its priority, and one node is kept for the first of them.
PATIENCE: Final = dt.timedelta(minutes=5)


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
    def turn(self) -> tuple[int | bool | dt.timedelta | str, ...]:
        """Sorts those who wait: priority, long waits, size: large ones are the hardest to place."""
        demand = self.demand
        size = (not demand.is_all_gpus, -demand.gpus, -demand.gpu_share_bytes, -demand.memory_bytes)
        return (-demand.priority, not self.is_impatient, *size, -self.waited, self.replica_id)


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

    1. Those before it get their places, though they are not given them now: they ask for themselves.
    2. The asker gets the best of what is left.
    3. Else the room of those in ``idle`` that must make way for it (``Placement.preempts``).
    4. Else the reason, and what would fit.
    """
    board = Board(nodes, policy=policy)
    before = [other for other in waiting if other.turn < asker.turn and other.replica_id != asker.replica_id]
    ahead = take_turns(board, before, nodes)
    found = board.place(asker.demand)
    if found is not None:
        return found
    if (making_way := preemption.find(asker.demand, nodes, idle)) is not None:
        return making_way
    return refusals.explain(asker.demand, nodes, others_ahead=ahead if _fits_alone(asker.demand, nodes) else 0)


def take_turns(board: Board, askers: Iterable[Asker], nodes: Sequence[NodeState]) -> int:
    """Everybody's place on ``board``, in turn; how many got or claimed one.

    The largest that has waited long and fits nowhere claims the node that lacks least: small ones would keep it out.
    """
    placed = 0
    has_claim = False
    shapes: dict[tuple[object, ...], list[NodeState]] | None = None
    for other in sorted(askers, key=lambda one: one.turn):
        if board.place(other.demand) is not None:
            placed += 1
        elif other.is_impatient and not has_claim:
            shapes = _by_shape(nodes) if shapes is None else shapes
            node = _nearest(other.demand, board, shapes.values())
            if node is not None:
                board.claim(node.node_id)
                has_claim = True
                placed += 1
    return placed


def _by_shape(nodes: Sequence[NodeState]) -> dict[tuple[object, ...], list[NodeState]]:
    """Open nodes by what they could hold if they were empty: most of a pool is alike."""
    shapes: dict[tuple[object, ...], list[NodeState]] = {}
    for node in nodes:
        if node.is_open:
            shape = (node.kinds, node.memory_bytes, node.cpu_millis, node.labels, node.taints)
            shapes.setdefault(shape, []).append(node)
    return shapes


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
