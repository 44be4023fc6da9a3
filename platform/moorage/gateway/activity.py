"""How busy each route is, counted here and read by the control plane for idle decisions and draining."""

import dataclasses
import datetime as dt
import time


@dataclasses.dataclass(slots=True)
class RouteActivity:
    """The numbers of one route at this worker."""

    in_flight: int = 0
    waiting: int = 0
    last_request_us: int | None = None  #: Unix microseconds
    replicas: dict[str, int] = dataclasses.field(default_factory=dict)
    is_changed: bool = True

    @property
    def last_request_at(self) -> dt.datetime | None:
        """When the last request came."""
        if self.last_request_us is None:
            return None
        return dt.datetime.fromtimestamp(self.last_request_us / 1_000_000, tz=dt.UTC)

    @property
    def is_busy(self) -> bool:
        """Whether anything is going on."""
        return bool(self.in_flight or self.waiting)


class Activity:
    """All routes that had a request since the start, and which of them are to be reported."""

    def __init__(self) -> None:
        self._routes: dict[str, RouteActivity] = {}
        self.is_urgent = False

    def of(self, route_id: str) -> RouteActivity:
        """The numbers of one route, to be changed through the verbs here."""
        found = self._routes.get(route_id)
        if found is None:
            found = self._routes[route_id] = RouteActivity()
        return found

    def arrived(self, route_id: str) -> None:
        """A request for the route was admitted."""
        route = self.of(route_id)
        route.last_request_us = time.time_ns() // 1000
        route.is_changed = True

    def waits(self, route_id: str, step: int) -> None:
        """One more (1) or one less (-1) is held."""
        route = self.of(route_id)
        route.waiting += step
        route.is_changed = True

    def began(self, route_id: str, replica_id: str) -> None:
        """A request was given to a replica."""
        route = self.of(route_id)
        route.in_flight += 1
        route.replicas[replica_id] = route.replicas.get(replica_id, 0) + 1
        route.is_changed = True

    def ended(self, route_id: str, replica_id: str) -> None:
        """A replica is done with a request. The last one is worth telling at once: a drain may wait for it."""
        route = self.of(route_id)
        route.in_flight -= 1
        left = route.replicas.get(replica_id, 1) - 1
        if left:
            route.replicas[replica_id] = left
        else:
            route.replicas.pop(replica_id, None)
            self.is_urgent = True
        route.is_changed = True

    def due(self) -> list[tuple[str, RouteActivity]]:
        """What has changed since it was last reported, and what is busy: a busy row that is not renewed is stale."""
        self.is_urgent = False
        return [(route_id, route) for route_id, route in self._routes.items() if route.is_changed or route.is_busy]
