"""Requests that wait: for a replica that is being woken, or for a place at one that has as many as it answers at once.

Each route has a room, which is a fair queue: bounded, cancellable, released one by one as places come free. The first
one to wait for a sleeping route asks for the wake, and a client that leaves does not take it back. A place that comes
free is given to who waits before anything else happens, so nobody who comes later finds it. Waiting costs its caller
nothing but time.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Final, Protocol

from moorage.gateway.errors import NotServing, QueueFull, QueueTimeout, Unavailable
from moorage.gateway.fair_queue import WEIGHTS, FairQueue
from moorage.gateway.pool import Pool
from moorage.gateway.routes import RouteTable, is_serving, is_waking
from moorage.kernel.errors import PlatformError
from moorage.wire.records import Route

#: What is going on while a route's furthest replica is at a stage, for people. Of others the reason says more.
_STAGES: Final = {
    "placed": "a node has room for it",
    "pulling": "pulling the weights",
    "starting": "loading the weights",
}
#: The longest Retry-After that is said.
_LONGEST_RETRY: Final = 300


class Waiter(Protocol):
    """A request that is held."""

    hold_until: float

    def __hash__(self) -> int:
        """By identity."""

    def released(self, route: Route) -> None:
        """A replica has a place: it is to be taken before this returns."""

    def gave_up(self, error: PlatformError) -> None:
        """It will not be served."""

    def still_waiting(self, now: float) -> None:
        """Time passes; a stream may want to say so to its client."""


@dataclasses.dataclass(slots=True)
class _Room:
    route: Route
    queue: FairQueue[Waiter]
    is_releasing: bool = False


class Holding:
    """The waiting rooms of all routes. ``clock`` is the loop's time."""

    def __init__(
        self,
        *,
        limit: int,
        ask_wake: Callable[[Route], None],
        pool: Pool,
        clock: Callable[[], float],
    ) -> None:
        self._limit: Final = limit
        self._ask_wake: Final = ask_wake
        self._pool: Final = pool
        self._clock: Final = clock
        self._rooms: dict[str, _Room] = {}

    def __len__(self) -> int:
        return sum(len(room.queue) for room in self._rooms.values())

    def waiting(self, route_id: str) -> int:
        """How many wait for this route."""
        room = self._rooms.get(route_id)
        return len(room.queue) if room is not None else 0

    def add(
        self,
        waiter: Waiter,
        route: Route,
        *,
        organization_id: str,
        key_id: str,
        tokens: float,
        weight: float = WEIGHTS["normal"],
    ) -> None:
        """Hold a request of so many tokens, and ask for the wake where nobody is up to answer it. Raises QueueFull."""
        room = self._rooms.get(route.id)
        if room is None:
            room = self._rooms[route.id] = _Room(route, FairQueue(limit=self._limit))
        loser = room.queue.push(waiter, organization_id=organization_id, key_id=key_id, tokens=tokens, weight=weight)
        if loser is waiter:
            self._close_if_empty(room)
            raise QueueFull
        if loser is not None:
            loser.gave_up(QueueFull())
        self._ask(room.route)

    def remove(self, waiter: Waiter, route_id: str) -> None:
        """The client has left."""
        room = self._rooms.get(route_id)
        if room is not None and room.queue.remove(waiter):
            self._close_if_empty(room)

    def lose_patience(self, waiter: Waiter, route_id: str) -> None:
        """Its time is over: it is sent away, and the wake that it asked for stays asked for."""
        room = self._rooms.get(route_id)
        if room is not None and room.queue.remove(waiter):
            waiter.gave_up(self._too_late(room))
            self._close_if_empty(room)

    def freed(self, route_id: str) -> None:
        """A replica of the route has a place again. Called at the end of every request: nearly always for nothing."""
        room = self._rooms.get(route_id)
        if room is not None:
            self._release(room)

    def correct(self, route_id: str, *, organization_id: str, key_id: str, tokens: float) -> None:
        """A request took so many more tokens than was thought when it came; less, if negative."""
        room = self._rooms.get(route_id)
        if room is not None:
            room.queue.correct(organization_id=organization_id, key_id=key_id, tokens=tokens)

    def routes_changed(self, routes: RouteTable) -> None:
        """Release those whose route is ready; send away those whose route will not be. Tell the pool first."""
        for route_id, room in list(self._rooms.items()):
            route = routes.get(route_id)
            if route is None:
                self._send_away(room, NotServing("The model was deleted while the request was waiting for it."))
                continue
            room.route = route
            if is_serving(route):
                self._release(room)
            elif not is_waking(route):
                self._send_away(room, NotServing(not_serving_sentence(route)))

    def tick(self, now: float) -> None:
        """Send away those whose patience has run out; ``now`` is the loop's time."""
        for room in list(self._rooms.values()):
            self._ask(room.route)
            # A breaker that lets one through again tells nobody.
            self._release(room)
            for waiter in list(room.queue):
                if waiter.hold_until > now:
                    waiter.still_waiting(now)
                elif room.queue.remove(waiter):
                    waiter.gave_up(self._too_late(room))
            self._close_if_empty(room)

    def send_all_away(self, error: PlatformError) -> None:
        """The gateway is stopping."""
        for room in list(self._rooms.values()):
            self._send_away(room, error)

    def _ask(self, route: Route) -> None:
        # Asked again while somebody waits and nothing was begun: a lost wake costs a moment, not a request.
        if route.status != "provisioning" and not is_serving(route):
            self._ask_wake(route)

    def _release(self, room: _Room) -> None:
        """Give out the places there are. Whoever is released may end at once and free its place: that is seen here."""
        if room.is_releasing or not is_serving(room.route):
            return
        room.is_releasing = True
        try:
            now = self._clock()
            while len(room.queue) and self._pool.can_take(room.route, now):
                room.queue.pop().released(room.route)
        finally:
            room.is_releasing = False
        self._close_if_empty(room)

    def _close_if_empty(self, room: _Room) -> None:
        if not len(room.queue) and not room.is_releasing:
            self._rooms.pop(room.route.id, None)

    def _send_away(self, room: _Room, error: PlatformError) -> None:
        self._rooms.pop(room.route.id, None)
        for waiter in list(room.queue):
            room.queue.remove(waiter)
            waiter.gave_up(error)

    def _too_late(self, room: _Room) -> Unavailable:
        if not is_serving(room.route):
            return not_awake(room.route, time.time())
        return QueueTimeout(retry_after=min(_LONGEST_RETRY, 1 + len(room.queue) // max(1, len(room.route.replicas))))


def not_awake(route: Route, now: float) -> NotServing:
    """Why a route that wakes is not serving yet: its stage, how far that is, and how long it may take. Unix seconds."""
    eta = _seconds_left(route, now)
    if not route.stage:
        return NotServing(f"The model {route.served_name} did not wake in time. {route.reason}".strip())
    if route.stage in _STAGES:
        sentence = f"The model {route.served_name} is starting: {_stage(route, eta)}."
    else:
        sentence = f"The model {route.served_name} is starting. {route.reason}".strip()
    return NotServing(
        sentence,
        retry_after=None if eta is None else min(eta, _LONGEST_RETRY),
        details={"stage": route.stage, "percent": route.percent, "eta_seconds": eta},
    )


def waiting_comment(route: Route, now: float) -> bytes:
    """What a stream that waits is told, as a comment that no client reads out. Unix seconds."""
    if is_serving(route):
        return b": waiting for its turn\n\n"
    if route.stage in _STAGES:
        return b": waiting for a replica: %b\n\n" % _stage(route, _seconds_left(route, now)).encode()
    return b": waiting for a replica\n\n"


def not_serving_sentence(route: Route) -> str:
    """Why a route that will not wake is not serving."""
    state = "paused" if route.status == "paused" else "not serving"
    return f"The model {route.served_name} is {state}. {route.reason}".strip()


def _seconds_left(route: Route, now: float) -> int | None:
    return math.ceil(route.expected_at - now) if route.expected_at > now else None


def _stage(route: Route, eta: int | None) -> str:
    said = [_STAGES[route.stage]]
    if route.percent is not None:
        said.append(f"{route.percent} %")
    if eta is not None:
        said.append(f"about {eta} s left")
    return ", ".join(said)
