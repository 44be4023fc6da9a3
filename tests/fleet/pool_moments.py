"""Moments of a seeded day at which many wait at once: a pool as it is then, and what is given by a rule from there.

Two rules that start a day alike soon hold different pools, and which one is fuller at noon is luck as much as merit.
From one and the same state the two can be compared by what each gives.
"""

import dataclasses
import random
from collections.abc import Iterator, Sequence

from moorage.fleet import pool_day
from moorage.fleet.board import Board
from moorage.fleet.decision import Asker, decide, densest
from moorage.fleet.first_fit import FirstFit
from moorage.fleet.placement import GIB, Demand, NodeState, Placement

#: Of a day's decisions with somebody waiting, one in so many is looked at.
ONE_IN = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moment:
    """A pool, and who wait for it. All of them have just come: long waits are no part of first-fit-decreasing."""

    nodes: list[NodeState]
    askers: list[Asker]

    def ours(self) -> list[int]:
        """Device bytes that a decision gives, by priority, the highest first."""
        return self.given({**densest(self.askers, self.nodes).places})

    def one_by_one(self) -> list[int]:
        """The same when they ask for themselves, the last in turn first, until nobody gets a place any more."""
        board = Board(self.nodes)
        waiting = sorted(self.askers, key=lambda asker: asker.turn, reverse=True)
        places: dict[str, Placement | None] = {}
        while True:
            for asker in waiting:
                place = decide(asker, waiting, nodes_of(board))
                if isinstance(place, Placement):
                    spot = board.spots[place.node_id]
                    known = {device.device_id: device for device in (*spot.free, *spot.shared.values())}
                    board.take(asker.demand, spot, tuple(known[device_id] for device_id in place.device_ids))
                    places[asker.replica_id] = place
                    break
            else:
                return self.given(places)
            waiting.remove(asker)

    def theirs(self) -> list[int]:
        """The same by first-fit-decreasing, with the priorities kept."""
        rule = FirstFit(self.nodes)
        in_turn = sorted(self.askers, key=lambda asker: asker.turn)
        return self.given({asker.replica_id: rule.place(asker.demand) for asker in in_turn})

    def given(self, places: dict[str, Placement | None]) -> list[int]:
        """Device bytes that these places come to, by priority, the highest first."""
        sizes = {device.device_id: device.memory_bytes for node in self.nodes for device in node.free_devices}
        given = dict.fromkeys(sorted({asker.demand.priority for asker in self.askers}, reverse=True), 0)
        for asker in self.askers:
            placement = places.get(asker.replica_id)
            if placement is not None:
                whole = sum(sizes[device_id] for device_id in placement.device_ids if not placement.share_bytes)
                given[asker.demand.priority] += placement.share_bytes or whole
        return list(given.values())


def crowd(seed: int, *, nodes: int = 8, coming: int = 30, has_priorities: bool = True) -> Moment:
    """A pool with little memory beside its GPUs, half of which has just been left, and so many who come at once."""
    chance = random.Random(seed)
    pool = [
        dataclasses.replace(node, memory_bytes=chance.choice((256, 384, 512)) * GIB)
        for node in pool_day.pool(nodes=nodes)
    ]
    devices = {device.device_id: device for node in pool for device in node.free_devices}
    demands = [arrival.demand for arrival in pool_day.day(seed, devices=8 * nodes)][: 20 * nodes + coming]
    board = Board(pool)
    held = [(demand, place) for demand in demands[:-coming] if (place := board.place(demand)) is not None]
    for demand, place in chance.sample(held, len(held) // 2):
        board.give_back(demand, place, [devices[device_id] for device_id in place.device_ids])
    return _moment(nodes_of(board), demands[-coming:], has_priorities=has_priorities)


def of_day(seed: int, *, nodes: int = 8) -> Iterator[Moment]:
    """Every so many of the decisions of a day in which somebody waited when room became free."""
    found: list[Moment] = []
    seen = 0

    def watch(waiting: Sequence[pool_day.Arrival], nodes: Sequence[NodeState]) -> None:
        nonlocal seen
        seen += 1
        if seen % ONE_IN == 0:
            found.append(_moment(nodes, [arrival.demand for arrival in waiting], has_priorities=False))

    day = pool_day.day(seed, devices=8 * nodes)
    pool_day.replay(day, pool_day.pool(nodes=nodes), ignores_priority=True, watch=watch)
    yield from found


def _moment(nodes: Sequence[NodeState], demands: Sequence[Demand], *, has_priorities: bool) -> Moment:
    askers = [
        Asker(
            replica_id=f"rep_{number:04}",
            demand=demand if has_priorities else dataclasses.replace(demand, priority=1),
        )
        for number, demand in enumerate(demands)
    ]
    return Moment(nodes=list(nodes), askers=askers)


def nodes_of(board: Board) -> list[NodeState]:
    """The nodes as they are with what was taken on ``board``."""
    return [
        dataclasses.replace(
            spot.node,
            used_memory_bytes=spot.node.memory_bytes - spot.free_memory,
            used_cpu_millis=spot.used_cpu,
            free_devices=tuple(spot.free),
            shared_devices=tuple(spot.shared.values()),
            digests=frozenset(spot.digests),
        )
        for spot in board.spots.values()
    ]
