"""A day of a pool, replayed in seconds: replicas come and go by a seed, and a rule places them. Pure.

The same day can be given to this platform's rule and to first-fit-decreasing, and the two compared: how much of the
GPUs' memory was in use while somebody waited, how long they waited, and whether anything was ever held twice.
This platform's rule is the one that decides on the real pool, called as it stands: :func:`decision.densest`.
"""

import dataclasses
import datetime as dt
import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

from moorage.fleet import decision
from moorage.fleet.first_fit import FirstFit
from moorage.fleet.placement import GIB, PRIORITIES, Demand, DeviceKind, DeviceState, NodeState, Placement, Policy
from moorage.fleet.pool_book import Book

DAY: Final = 24 * 3600
#: A replica of so many GPUs is a large one: half of a node and more.
LARGE: Final = 4
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

    @property
    def size(self) -> int:
        """What first-fit-decreasing goes by: devices, then bytes of one."""
        return self.demand.gpus * 1000 * GIB or self.demand.gpu_share_bytes


#: Places by where in the list of those who wait somebody stands.
Given = Mapping[int, Placement]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a day came to. Shares are of all GPU memory. Who still waits when the day ends has waited until then."""

    rule: str
    arrivals: int
    placed: int
    used_share: float  #: over the whole day
    used_share_while_waiting: float
    mean_wait: float  #: seconds
    p99_wait: float
    longest_wait: float
    large_mean_wait: float  #: of those who ask for LARGE GPUs or more
    large_p99_wait: float
    warm_share: float  #: of the placed, on a node that had the weights
    violations: tuple[str, ...]


class Placer(Protocol):
    """A rule: who of those who wait goes where. It is told what has left; what it gives is taken at once."""

    def place(self, waiting: Sequence[Arrival], *, now: float, new: int, has_left: bool) -> Given:
        """Places for some of ``waiting``, of whom the last ``new`` have just come."""

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
        noon = 1 - abs(at - DAY / 2) / (DAY / 4)  # -1 at midnight
        if chance.random() > (1 + 0.5 * noon) / 1.5:
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
    watch: Callable[[Sequence[Arrival], Sequence[NodeState]], None] | None = None,
) -> Outcome:
    """The day under one rule, or under ``placer``. Who waits asks again whenever somebody has left or come.
    ``watch`` is shown who waits and the pool whenever somebody has left, before anything is decided."""
    if ignores_priority:
        alike = PRIORITIES["normal"]
        arrivals = [
            dataclasses.replace(one, demand=dataclasses.replace(one.demand, priority=alike)) for one in arrivals
        ]
    book = Book(nodes)
    if placer is None:
        placer = Deciding(book, policy=policy) if rule == "moorage" else Decreasing(nodes)
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
        if not waiting:
            continue
        if watch is not None and has_left:
            watch(waiting, book.nodes())
        given = placer.place(waiting, now=now, new=new, has_left=has_left)
        for at, placement in given.items():
            arrival = waiting[at]
            book.enter(arrival.demand, placement)
            tally.wait(arrival, now)
            tally.placed += 1
            heapq.heappush(leaving, (now + arrival.stays, tally.placed, arrival, placement))
        if given:
            waiting = [arrival for at, arrival in enumerate(waiting) if at not in given]
    for arrival in waiting:
        tally.wait(arrival, DAY)
    return tally.outcome(rule=rule, arrivals=len(arrivals), warm=book.warm, violations=book.violations)


class Deciding:
    """This platform's rule: the plan in which a real decision finds its place, carried out for all who wait at once.
    There each asks for itself, within seconds, and its own weights alone are looked for."""

    def __init__(self, book: Book, *, policy: Policy = "pack") -> None:
        self._book = book
        self._policy: Policy = policy

    def place(self, waiting: Sequence[Arrival], *, now: float, new: int, has_left: bool) -> Given:
        """See :class:`Placer`."""
        nodes = self._book.nodes()
        first = len(waiting) - new
        came = _askers(waiting[first:], first, now)
        plan = None
        if not has_left:
            # Who found no place before finds none now, nor do those who come, if they find none alone.
            plan = decision.densest(came, nodes, policy=self._policy)
            if not plan.places:
                return {}
        if plan is None or first:
            plan = decision.densest([*_askers(waiting[:first], 0, now), *came], nodes, policy=self._policy)
        return {int(replica_id): placement for replica_id, placement in plan.places.items()}

    def give_back(self, demand: Demand, placement: Placement, devices: Sequence[DeviceState]) -> None:
        """The book knows."""


class Decreasing:
    """First-fit-decreasing: the largest first, of equals who came first, each by plain first fit."""

    def __init__(self, nodes: Sequence[NodeState]) -> None:
        self._rule = FirstFit(nodes)

    def place(self, waiting: Sequence[Arrival], *, now: float, new: int, has_left: bool) -> Given:  # noqa: ARG002
        """See :class:`Placer`."""
        # Nothing has left, so who found no place before finds none now.
        first = 0 if has_left else len(waiting) - new
        in_turn = sorted(enumerate(waiting[first:], first), key=lambda entry: (-entry[1].size, entry[1].at))
        refused: dict[tuple[object, ...], int] = {}
        given: dict[int, Placement] = {}
        for at, arrival in in_turn:
            demand = arrival.demand
            # Alike but for memory: who needs no less than one that was refused is refused too, as the pool only fills.
            alike = (demand.gpus, demand.gpu_share_bytes, demand.organization_id)
            if demand.memory_bytes >= refused.get(alike, demand.memory_bytes + 1):
                continue
            placement = self._rule.place(demand)
            if placement is None:
                refused[alike] = demand.memory_bytes
            else:
                given[at] = placement
        return given

    def give_back(self, demand: Demand, placement: Placement, devices: Sequence[DeviceState]) -> None:
        """See :class:`Placer`."""
        self._rule.give_back(demand, placement, devices)


@dataclasses.dataclass(kw_only=True)
class _Tally:
    """What is added up as the day passes."""

    capacity: int
    placed: int = 0
    waits: list[float] = dataclasses.field(default_factory=list)
    large_waits: list[float] = dataclasses.field(default_factory=list)
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

    def wait(self, arrival: Arrival, until: float) -> None:
        """So long it waited."""
        self.waits.append(until - arrival.at)
        if arrival.demand.gpus >= LARGE:
            self.large_waits.append(until - arrival.at)

    def outcome(self, *, rule: str, arrivals: int, warm: int, violations: Sequence[str]) -> Outcome:
        """The day's figures."""
        waits, large = sorted(self.waits) or [0.0], sorted(self.large_waits) or [0.0]
        return Outcome(
            rule=rule,
            arrivals=arrivals,
            placed=self.placed,
            used_share=self.used_seconds / (self.capacity * DAY),
            used_share_while_waiting=self.used_while_waiting / (self.capacity * max(self.waiting_seconds, 1)),
            mean_wait=sum(waits) / len(waits),
            p99_wait=waits[99 * len(waits) // 100],
            longest_wait=waits[-1],
            large_mean_wait=sum(large) / len(large),
            large_p99_wait=large[99 * len(large) // 100],
            warm_share=warm / max(self.placed, 1),
            violations=tuple(violations),
        )


def _askers(arrivals: Sequence[Arrival], first: int, now: float) -> list[decision.Asker]:
    return [
        decision.Asker(replica_id=f"{at:06}", demand=one.demand, waited=dt.timedelta(seconds=now - one.at))
        for at, one in enumerate(arrivals, first)
    ]


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
