"""Requests that wait for a replica: in the order of their coming, bounded for each route, cancellable.

The first one asks for the wake. A client that leaves does not take the wake back.
"""

import collections
from collections.abc import Callable
from typing import Final, Protocol

from moorage.gateway.errors import NotServing, QueueFull
from moorage.gateway.routes import RouteTable, is_serving, is_waking
from moorage.kernel.errors import PlatformError
from moorage.wire.records import Route


class Waiter(Protocol):
    """A request that is held."""

    hold_until: float

    def released(self, route: Route) -> None:
        """A replica is there."""

    def gave_up(self, error: PlatformError) -> None:
        """It will not be served."""

    def still_waiting(self, now: float) -> None:
        """Time passes; a stream may want to say so to its client."""


class Holding:
    """The waiting rooms of all routes."""

    def __init__(self, *, limit: int, ask_wake: Callable[[Route], None]) -> None:
        self._limit: Final = limit
        self._ask_wake: Final = ask_wake
        self._rooms: dict[str, collections.OrderedDict[Waiter, None]] = {}

    def __len__(self) -> int:
        return sum(len(room) for room in self._rooms.values())

    def waiting(self, route_id: str) -> int:
        """How many wait for this route."""
        return len(self._rooms.get(route_id, ()))

    def add(self, waiter: Waiter, route: Route) -> None:
        """Hold a request and ask for the wake. Raises QueueFull."""
        room = self._rooms.setdefault(route.id, collections.OrderedDict())
        if len(room) >= self._limit:
            raise QueueFull
        room[waiter] = None
        self._ask(route)

    def remove(self, waiter: Waiter, route_id: str) -> None:
        """The client has left."""
        room = self._rooms.get(route_id)
        if room is not None:
            room.pop(waiter, None)
            if not room:
                del self._rooms[route_id]

    def routes_changed(self, routes: RouteTable) -> None:
        """Release those whose route is ready; send away those whose route will not be."""
        for route_id in list(self._rooms):
            route = routes.get(route_id)
            if route is None:
                self._send_away(route_id, NotServing("The model was deleted while the request was waiting for it."))
            elif is_serving(route):
                for waiter in self._rooms.pop(route_id):
                    waiter.released(route)
            elif not is_waking(route):
                self._send_away(route_id, NotServing(not_serving_sentence(route)))

    def tick(self, now: float, routes: RouteTable) -> None:
        """Send away those whose patience has run out; ``now`` is the loop's time."""
        for route_id, room in list(self._rooms.items()):
            route = routes.get(route_id)
            if route is not None:
                self._ask(route)
            for waiter in list(room):
                if waiter.hold_until > now:
                    waiter.still_waiting(now)
                    continue
                self.remove(waiter, route_id)
                sentence = "The model did not wake in time."
                if route is not None and route.reason:
                    sentence = f"{sentence} {route.reason}"
                waiter.gave_up(NotServing(sentence))

    def send_all_away(self, error: PlatformError) -> None:
        """The gateway is stopping."""
        for route_id in list(self._rooms):
            self._send_away(route_id, error)

    def _ask(self, route: Route) -> None:
        # Asked again while somebody waits and nothing was begun: a lost wake costs a moment, not a request.
        if route.status != "provisioning":
            self._ask_wake(route)

    def _send_away(self, route_id: str, error: PlatformError) -> None:
        for waiter in self._rooms.pop(route_id, ()):
            waiter.gave_up(error)


def not_serving_sentence(route: Route) -> str:
    """Why a route that will not wake is not serving."""
    state = "paused" if route.status == "paused" else "not serving"
    return f"The model {route.served_name} is {state}. {route.reason}".strip()
