"""How busy each route is, counted here and read by the control plane for idle decisions and draining."""

import dataclasses
import datetime as dt


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

    def waits(self, step: int) -> None:
        """One more (1) or one less (-1) is held."""
        self.waiting += step
        self.is_changed = True

    def began(self, replica_id: str) -> None:
        """A request was given to a replica."""
        self.in_flight += 1
        self.replicas[replica_id] = self.replicas.get(replica_id, 0) + 1
        self.is_changed = True

    def ended(self, replica_id: str) -> bool:
        """A replica is done with a request. True for its last one, which is worth telling at once: a drain may wait."""
        self.in_flight -= 1
        self.is_changed = True
        left = self.replicas[replica_id] - 1
        if left:
            self.replicas[replica_id] = left
            return False
        del self.replicas[replica_id]
        return True


class Activity:
    """All routes that had a request since the start, and which of them are to be reported."""

    def __init__(self) -> None:
        self._routes: dict[str, RouteActivity] = {}
        self.is_urgent = False

    def arrived(self, route_id: str, at_us: int) -> RouteActivity:
        """A request for the route was admitted at ``at_us`` (Unix microseconds). Returns the route's numbers."""
        route = self._routes.get(route_id)
        if route is None:
            route = self._routes[route_id] = RouteActivity()
        route.last_request_us = at_us
        route.is_changed = True
        return route

    def due(self) -> list[tuple[str, RouteActivity]]:
        """What has changed since it was last reported, and what is busy: a busy row that is not renewed is stale."""
        self.is_urgent = False
        return [(route_id, route) for route_id, route in self._routes.items() if route.is_changed or route.is_busy]
