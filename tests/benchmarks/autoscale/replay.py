"""One trace against one policy: a queue, replicas with slots, cold starts, and two sums. Deterministic.

Both policies get the same: requests wait in one queue for the first free place, a replica takes its cold start before
it has places, one that is given up finishes what it has and then goes. A replica second counts from the decision for a
replica until it is gone, cold start included. A policy looks when its clock says so, when the first request finds no
replica at all, and, if it wants that, when somebody begins to wait.
"""

import collections
import dataclasses
import heapq
from typing import Final, Protocol

from tests.benchmarks.autoscale.traces import Trace


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cluster:
    """What both policies work with. ``cold_seconds`` is the wake from the tier that replicas are in at zero; the first
    replica after zero wakes from it, all others start from nothing."""

    slots: int = 4
    most: int = 32
    cold_seconds: float = 8.0
    wake_seconds: float = 8.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sight:
    """What a policy is shown at a moment."""

    now: float
    in_flight: int
    waiting: int
    queue_seconds: float
    ready: int
    wanted: int
    last_request_at: float | None
    #: Mean number of requests in flight and waiting in each whole second so far.
    concurrency: collections.deque[float]


class Policy(Protocol):
    """A number of replicas for what is seen."""

    name: str
    #: Seconds between two looks.
    period: float
    #: How soon it looks when somebody begins to wait beside replicas; None: at its period alone.
    ring: float | None
    #: What it sees at its period was told at the last multiple of so many seconds; 0: it sees what is.
    told_every: int

    def wanted(self, sight: Sight) -> int:
        """How many from now on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """Waits in seconds, and replica seconds."""

    waits: tuple[float, ...]
    replica_seconds: float
    starts: int

    def wait(self, share: float) -> float:
        """The wait that this share of the requests did not exceed."""
        return self.waits[min(len(self.waits) - 1, int(share * len(self.waits)))] if self.waits else 0.0


@dataclasses.dataclass(kw_only=True)
class _Replica:
    began: float
    ready_at: float
    busy: int = 0
    is_leaving: bool = False


_ARRIVES, _ENDS, _READY, _LOOKS, _SECOND = range(5)
#: From the first request of a sleeping model to the decision: a row and a notice.
_WAKE_SECONDS: Final = 0.05
#: A queue that begins again and again is told of so often.
_RING_SECONDS: Final = 2.0
#: After the last request of a trace it is watched until both policies have let go.
_TAIL_SECONDS: Final = 300.0


class _Run:
    def __init__(self, trace: Trace, policy: Policy, cluster: Cluster) -> None:
        self.policy, self.cluster = policy, cluster
        self.events: list[tuple[float, int, int, _Replica | None]] = []
        self.order = 0
        self.replicas: list[_Replica] = []
        self.queue: collections.deque[int] = collections.deque()
        self.requests = trace.requests
        self.end = trace.seconds + _TAIL_SECONDS
        self.waits: list[float] = []
        self.replica_seconds = 0.0
        self.starts = 0
        self.wanted = 0
        self.in_flight = 0
        self.last_request_at: float | None = None
        self.rang_at, self.rang_for = -1e9, 0
        self.area, self.area_at = 0.0, 0.0
        self.told = (0, 0, 0.0)
        self.concurrency: collections.deque[float] = collections.deque(maxlen=120)

    def push(self, at: float, kind: int, number: int = 0, replica: _Replica | None = None) -> None:
        # The kind orders what falls together: who ends makes room before the next look.
        self.order += 1
        heapq.heappush(self.events, (at, kind * 10_000_000 + self.order, number * 10 + kind, replica))

    def run(self) -> Result:
        for number, (at, _) in enumerate(self.requests):
            self.push(at, _ARRIVES, number)
        self.push(0.0, _LOOKS, 1)
        self.push(1.0, _SECOND)
        while self.events:
            now, _, code, replica = heapq.heappop(self.events)
            if now >= self.end:
                break
            number, kind = divmod(code, 10)
            self.area += (self.in_flight + len(self.queue)) * (now - self.area_at)
            self.area_at = now
            self.step(now, kind, number, replica)
        for left in self.replicas:
            self.replica_seconds += self.end - left.began
        return Result(waits=tuple(sorted(self.waits)), replica_seconds=self.replica_seconds, starts=self.starts)

    def step(self, now: float, kind: int, number: int, replica: _Replica | None) -> None:
        match kind:
            case 0:
                self.last_request_at = now
                self.queue.append(number)
                self.place(now)
                if self.queue and not self.replicas:
                    self.push(now + _WAKE_SECONDS, _LOOKS)
                elif self.is_rung(now):
                    self.rang_at, self.rang_for = now, len(self.queue)
                    self.push(now + (self.policy.ring or 0.0), _LOOKS)
            case 1:
                assert replica is not None
                replica.busy -= 1
                self.in_flight -= 1
                self.last_request_at = now
                self.drop(replica, now)
                self.place(now)
            case 2:
                self.place(now)
            case 3:
                self.look(now, is_told_now=not number or not self.policy.told_every)
                if number:
                    self.push(now + self.policy.period, _LOOKS, 1)
            case _:
                self.concurrency.append(self.area)
                self.area = 0.0
                if self.policy.told_every and round(now) % self.policy.told_every == 0:
                    self.told, self.rang_for = self.figures(now), len(self.queue)
                self.push(now + 1.0, _SECOND)

    def is_rung(self, now: float) -> bool:
        """Whether the gateways tell at once that the queue has doubled; of a first one in it every two seconds."""
        if self.policy.ring is None or now - self.rang_at < self.policy.ring:
            return False
        return len(self.queue) > 2 * self.rang_for and (self.rang_for > 0 or now - self.rang_at >= _RING_SECONDS)

    def place(self, now: float) -> None:
        while self.queue:
            open_ones = [
                one
                for one in self.replicas
                if one.ready_at <= now and not one.is_leaving and one.busy < self.cluster.slots
            ]
            if not open_ones:
                return
            number = self.queue.popleft()
            arrived, work = self.requests[number]
            self.waits.append(now - arrived)
            chosen = min(open_ones, key=lambda one: one.busy)
            chosen.busy += 1
            self.in_flight += 1
            self.push(now + work, _ENDS, number, chosen)

    def figures(self, now: float) -> tuple[int, int, float]:
        """In flight, waiting, and how long the oldest has waited."""
        return self.in_flight, len(self.queue), now - self.requests[self.queue[0]][0] if self.queue else 0.0

    def look(self, now: float, *, is_told_now: bool) -> None:
        if is_told_now:
            self.told, self.rang_for = self.figures(now), len(self.queue)
        in_flight, waiting, queue_seconds = self.told
        staying = [one for one in self.replicas if not one.is_leaving]
        sight = Sight(
            now=now,
            in_flight=in_flight,
            waiting=waiting,
            queue_seconds=queue_seconds,
            ready=sum(one.ready_at <= now for one in staying),
            wanted=len(staying),
            last_request_at=self.last_request_at,
            concurrency=self.concurrency,
        )
        self.wanted = min(self.cluster.most, self.policy.wanted(sight))
        for _ in range(self.wanted - len(staying)):
            took = self.cluster.cold_seconds if self.replicas else self.cluster.wake_seconds
            started = _Replica(began=now, ready_at=now + took)
            self.starts += 1
            self.replicas.append(started)
            self.push(started.ready_at, _READY, 0, started)
        # Those that are not ready go first, then the newest: as the planner does it.
        order = sorted(staying, key=lambda one: (one.ready_at <= now, -one.began))
        for one in order[: max(0, len(staying) - self.wanted)]:
            one.is_leaving = True
            self.drop(one, now)

    def drop(self, replica: _Replica, now: float) -> None:
        if replica.is_leaving and not replica.busy:
            self.replicas.remove(replica)
            self.replica_seconds += now - replica.began


def replay(trace: Trace, policy: Policy, cluster: Cluster) -> Result:
    """What the policy makes of the trace."""
    return _Run(trace, policy, cluster).run()
