"""A day of a pool, replayed in seconds: replicas come and go by a seed, and a rule places them. Pure.

The same day can be given to this platform's rule and to first-fit-decreasing, and the two compared: how much of the
GPUs' memory was in use while somebody waited, how long they waited, and whether anything was ever held twice.
"""

import dataclasses
import datetime as dt
import heapq
import random
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

from moorage.fleet.board import Board
from moorage.fleet.decision import Asker
from moorage.fleet.first_fit import FirstFit
from moorage.fleet.placement import GIB, Demand, DeviceKind, DeviceState, NodeState, Placement, Policy

DAY: Final = 24 * 3600
#: What people ask for, and how often: gpus, share in GiB, weight.
_SIZES: Final = ((1, 0, 30), (2, 0, 12), (4, 0, 8), (8, 0, 3), (0, 10, 14), (0, 20, 14), (0, 40, 10), (0, 60, 5))
_MODELS: Final = 40

Rule = Literal["moorage", "first-fit-decreasing"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrival:
    """One replica: when it comes, in seconds of the day, for how long it stays once placed, and what it needs."""

    at: float
    stays: float
    demand: Demand


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a day came to. Shares are of all GPU memory, over the time in which somebody waited."""

    rule: str
    arrivals: int
    placed: int
    used_share: float  #: over the whole day
    used_share_while_waiting: float
    mean_wait: float  #: seconds
    p99_wait: float
    longest_wait: float
    warm_share: float  #: of the placed, on a node that had the weights
    violations: tuple[str, ...]


class Placer(Protocol):
    """What a rule does: take the next of those who wait, and give back what has left."""

    def place(self, demand: Demand) -> Placement | None:
        """A place, taken at once; None if there is none."""

    def give_back(self, demand: Demand, placement: Placement, devices: Sequence[DeviceState]) -> None:
        """What a replica held is free again."""


def pool(*, nodes: int, gpus: int = 8, gpu_gib: int = 80) -> list[NodeState]:
    """So many equal nodes; every eighth has its devices cut in seven."""
    return [_node(number, gpus, gpu_gib) for number in range(nodes)]


def day(
    seed: int, *, devices: int, load: float = 1.1, organizations: int = 12, mean_stay: float = 3600
) -> list[Arrival]:
    """A day that asks for ``load`` times what ``devices`` of 80 GiB hold, more at noon than at night."""
    chance = random.Random(seed)  # noqa: S311 - a day that can be replayed
    weights = [weight for *_, weight in _SIZES]
    mean = sum((gpus or share / 80) * weight for gpus, share, weight in _SIZES) / sum(weights)
    per_second = load * devices / (mean * mean_stay)
    found: list[Arrival] = []
    at = 0.0
    while True:
        # The rate swings around its mean by half of it.
        at += chance.expovariate(per_second * 1.5)
        if at >= DAY:
            return found
        if chance.random() > (1 + 0.5 * _noon(at)) / 1.5:
            continue
        gpus, share, _ = chance.choices(_SIZES, weights)[0]
        found.append(
            Arrival(
                at=at,
                stays=60 + chance.expovariate(1 / mean_stay),
                demand=Demand(
                    memory_bytes=chance.randrange(4, 40) * GIB,
                    cpu_millis=1000,
                    gpus=gpus,
                    # More than a slice has, so that both rules answer the same question.
                    gpu_memory_bytes=70 * GIB if gpus else 0,
                    gpu_share_bytes=share * GIB,
                    priority=chance.choices((0, 1, 2), (2, 7, 1))[0],
                    digest=f"sha256:{min(chance.randrange(_MODELS), chance.randrange(_MODELS))}",
                    organization_id=f"org_{min(chance.randrange(organizations), chance.randrange(organizations))}",
                ),
            )
        )


def replay(
    arrivals: Sequence[Arrival],
    nodes: Sequence[NodeState],
    *,
    rule: Rule = "moorage",
    policy: Policy = "pack",
    ignores_priority: bool = False,
    placer: Placer | None = None,
    watch: Callable[[Sequence[Arrival]], None] | None = None,
) -> Outcome:
    """The day under one rule, or under ``placer`` in that rule's turns. Whoever waits is tried
    again, in turn, whenever somebody has left or come. No node is kept for who waits long.

    ``watch`` is shown who waits whenever somebody has left, before any of them is tried."""
    book = _Book(nodes)
    if placer is None:
        placer = Board(nodes, policy=policy) if rule == "moorage" else FirstFit(nodes)
    waiting: list[Arrival] = []
    leaving: list[tuple[float, int, Arrival, Placement]] = []
    tally = _Tally(capacity=book.capacity)
    coming = 0
    while coming < len(arrivals) or (leaving and leaving[0][0] < DAY):
        now = min(arrivals[coming].at if coming < len(arrivals) else DAY, leaving[0][0] if leaving else float("inf"))
        tally.until(now, used=book.used, is_anybody_waiting=bool(waiting))
        has_left, new = False, 0
        while leaving and leaving[0][0] <= now:
            has_left = True
            _, _, gone, placement = heapq.heappop(leaving)
            placer.give_back(gone.demand, placement, book.leave(gone.demand, placement))
        while coming < len(arrivals) and arrivals[coming].at <= now:
            waiting.append(arrivals[coming])
            coming += 1
            new += 1
        still: list[Arrival] = []
        if not has_left:
            # Who found no place before finds none now: only those who have just come are tried.
            still, waiting = waiting[:-new], waiting[-new:]
        elif watch is not None and waiting:
            watch(waiting)
        for arrival in sorted(waiting, key=_turn(rule, now, ignores_priority=ignores_priority)):
            placement_or_none = placer.place(arrival.demand)
            if placement_or_none is None:
                still.append(arrival)
                continue
            book.enter(arrival.demand, placement_or_none)
            tally.waits.append(now - arrival.at)
            heapq.heappush(leaving, (now + arrival.stays, len(tally.waits), arrival, placement_or_none))
        waiting = still
    return tally.outcome(rule=rule, arrivals=len(arrivals), warm=book.warm, violations=book.violations)


class _Book:
    """Who holds what, kept apart from the rule, so that a rule that errs is found out."""

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        self._nodes = {node.node_id: node for node in nodes}
        self._memory = dict.fromkeys(self._nodes, 0)
        self._devices = {device.device_id: device for node in nodes for device in node.free_devices}
        self._node_of = {device.device_id: node.node_id for node in nodes for device in node.free_devices}
        self._held: dict[str, list[tuple[str, int]]] = {device_id: [] for device_id in self._devices}
        self._digests: dict[str, set[str]] = {node_id: set() for node_id in self._nodes}
        self.capacity = sum(device.memory_bytes for device in self._devices.values())
        self.used = 0
        self.warm = 0
        self.violations: list[str] = []

    def enter(self, demand: Demand, placement: Placement) -> None:
        """Write down what was given, and what is wrong with it."""
        node = self._nodes[placement.node_id]
        self._memory[node.node_id] += demand.memory_bytes
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
        self._memory[placement.node_id] -= demand.memory_bytes
        for device_id in placement.device_ids:
            size = demand.gpu_share_bytes or self._devices[device_id].memory_bytes
            self._held[device_id].remove((demand.organization_id, size))
            self.used -= size
        return [self._devices[device_id] for device_id in placement.device_ids]


@dataclasses.dataclass(kw_only=True)
class _Tally:
    """What is added up as the day passes."""

    capacity: int
    waits: list[float] = dataclasses.field(default_factory=list)
    now: float = 0
    used_seconds: float = 0
    waiting_seconds: float = 0
    used_while_waiting: float = 0

    def until(self, now: float, *, used: int, is_anybody_waiting: bool) -> None:
        """The pool was as it is from the last moment to this one."""
        passed = min(now, DAY) - self.now
        self.now += passed
        self.used_seconds += used * passed
        if is_anybody_waiting:
            self.waiting_seconds += passed
            self.used_while_waiting += used * passed

    def outcome(self, *, rule: str, arrivals: int, warm: int, violations: Sequence[str]) -> Outcome:
        """The day's figures."""
        waits = sorted(self.waits) or [0.0]
        return Outcome(
            rule=rule,
            arrivals=arrivals,
            placed=len(self.waits),
            used_share=self.used_seconds / (self.capacity * DAY),
            used_share_while_waiting=self.used_while_waiting / (self.capacity * max(self.waiting_seconds, 1)),
            mean_wait=sum(waits) / len(waits),
            p99_wait=waits[99 * len(waits) // 100],
            longest_wait=waits[-1],
            warm_share=warm / max(len(self.waits), 1),
            violations=tuple(violations),
        )


def _turn(rule: Rule, now: float, *, ignores_priority: bool) -> Callable[[Arrival], tuple[object, ...]]:
    """In which order those who wait are tried."""

    def ours(arrival: Arrival) -> tuple[object, ...]:
        demand = dataclasses.replace(arrival.demand, priority=1) if ignores_priority else arrival.demand
        waited = dt.timedelta(seconds=now - arrival.at)
        return Asker(replica_id=f"{arrival.at}", demand=demand, waited=waited).turn

    def decreasing(arrival: Arrival) -> tuple[object, ...]:
        demand = arrival.demand
        return (-(demand.gpus * 1000 * GIB or demand.gpu_share_bytes), arrival.at)

    return ours if rule == "moorage" else decreasing


def _noon(at: float) -> float:
    """From -1 at midnight to 1 at noon."""
    return 1 - abs(at - DAY / 2) / (DAY / 4)


def _node(number: int, gpus: int, gpu_gib: int) -> NodeState:
    is_cut = number % 8 == 7
    name = f"gpu-{number:03}"
    size = gpu_gib * GIB // 7 if is_cut else gpu_gib * GIB
    count = gpus * 7 if is_cut else gpus
    kind = "H100 MIG 1g" if is_cut else "H100"
    return NodeState(
        node_id=name,
        name=name,
        memory_bytes=1024 * GIB,
        used_memory_bytes=0,
        cpu_millis=128_000,
        used_cpu_millis=0,
        kinds=(DeviceKind(name=kind, memory_bytes=size, count=count, is_slice=is_cut),),
        free_devices=tuple(
            DeviceState(device_id=f"{name}-{index:02}", memory_bytes=size, name=kind, is_slice=is_cut)
            for index in range(count)
        ),
    )
