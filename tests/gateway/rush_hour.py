"""A route under load in virtual time: the gateway's own waiting rooms and pool, an engine of fixed service time."""

import dataclasses
import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence

from moorage.gateway.holding import Holding
from moorage.gateway.pool import Pool, Replica
from moorage.kernel.errors import PlatformError
from moorage.wire.records import ReplicaAddress, Route


def route_of(*, replicas: int = 1, slots: int = 4, status: str = "ready") -> Route:
    return Route(
        id="dep_1:pilot",
        organization_id="org_alice",
        served_name="harbour/pilot",
        deployment_id="dep_1",
        deployment_name="harbour",
        model_key="pilot",
        revision_id="rev_1",
        engine="llamacpp",
        kind="chat",
        context_size=4096,
        status=status,
        replicas=tuple(ReplicaAddress(id=f"rep_{n}", socket=f"/s/{n}", slots=slots) for n in range(replicas)),
    )


@dataclasses.dataclass(eq=False, kw_only=True)
class Call:
    """One request. ``seconds`` is how long the engine takes for it."""

    key: str
    came_at: float
    seconds: float = 1.0
    tokens: int = 100
    organization: str = "org_alice"
    weight: float = 4.0
    hold_until: float = 1e9
    done_at: float | None = None
    error: PlatformError | None = None
    harbour: "Harbour | None" = None

    @property
    def latency(self) -> float:
        assert self.done_at is not None, self.error
        return self.done_at - self.came_at

    def released(self, route: Route) -> None:
        assert self.harbour is not None
        assert self.harbour.begin(self)

    def gave_up(self, error: PlatformError) -> None:
        self.error = error

    def still_waiting(self, now: float) -> None:
        pass


class Harbour:
    """One route, its replicas, and whoever waits."""

    def __init__(self, *, slots: int = 4, replicas: int = 1, limit: int = 500, is_fair: bool = True) -> None:
        self.now = 0.0
        self.route = route_of(slots=slots, replicas=replicas)
        self.pool = Pool()
        self.holding = Holding(limit=limit, ask_wake=lambda _route: None, pool=self.pool, clock=lambda: self.now)
        self._is_fair = is_fair
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def begin(self, call: Call) -> bool:
        replica = self.pool.choose(self.route, b"", call.tokens, self.now)
        if replica is None:
            return False
        replica.take(call.tokens)
        self._at(self.now + call.seconds, lambda: self._end(call, replica))
        return True

    def arrive(self, call: Call) -> None:
        call.harbour = self
        if not self.begin(call):
            # Unfair is one queue for all: the order of coming.
            key = call.key if self._is_fair else "everybody"
            self.holding.add(
                call,
                self.route,
                organization_id=call.organization if self._is_fair else "",
                key_id=key,
                tokens=call.tokens,
                weight=call.weight,
            )

    def run(self, calls: Iterable[Call]) -> None:
        """Until all have ended."""
        for call in calls:
            self._at(call.came_at, lambda call=call: self.arrive(call))  # type: ignore[misc]
        while self._events:
            self.now, _, act = heapq.heappop(self._events)
            act()

    def _end(self, call: Call, replica: Replica) -> None:
        replica.leave(call.tokens)
        call.done_at = self.now
        self.holding.freed(self.route.id)

    def _at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), act))


def p99(calls: Sequence[Call]) -> float:
    """The smallest latency that 99 of 100 do not exceed."""
    latencies = sorted(call.latency for call in calls)
    return latencies[-(-99 * len(latencies) // 100) - 1]
