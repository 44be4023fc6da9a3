"""How busy each route is, counted here and read by the control plane for idle decisions and draining."""

import dataclasses
import datetime as dt
import time
from typing import Final

from moorage.gateway.busy_times import BusyTimes
from moorage.gateway.routes import RouteTable
from moorage.gateway.trial import Trial
from moorage.wire.records import Route

_time_ns: Final = time.time_ns
#: A queue that begins again and again is told of at once every so often.
_RING_US: Final = 2_000_000
#: Metering has long read it by then.
_BUSY_KEPT_US: Final = 600_000_000


@dataclasses.dataclass(slots=True)
class RouteActivity:
    """The numbers of one route at this worker."""

    in_flight: int = 0
    waiting: int = 0
    last_request_us: int | None = None  #: Unix microseconds
    replicas: dict[str, int] = dataclasses.field(default_factory=dict)
    is_changed: bool = True
    #: The route's version that this worker knows: whoever is not in it gets nothing new from here.
    heard: int = 0
    #: What the revisions that share the route have answered; None: there is one, and nothing is counted.
    trial: Trial | None = None
    #: Since when each request that waits does, by its id, the oldest first; Unix microseconds.
    waiting_since: dict[str, int] = dataclasses.field(default_factory=dict)
    #: How many waited when it was last told, or was to be told at once, and when that was.
    told_waiting: int = 0
    rang_us: int = 0
    busy: dict[str, BusyTimes] = dataclasses.field(default_factory=dict)
    #: How full the replicas' KV caches are, where engines say so.
    kv_used: dict[str, float] = dataclasses.field(default_factory=dict)

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

    def knows(self, route: Route | None) -> bool:
        """The route is like this from now on. Whether that is news."""
        heard, trial = (route.version, route.trial) if route is not None else (0, "")
        is_news = heard != self.heard
        self.heard = heard
        if trial != (self.trial.id if self.trial is not None else ""):
            self.trial = Trial(trial) if trial else None
            is_news = True
        self.is_changed = self.is_changed or is_news
        return is_news

    def waits(self, request_id: str) -> bool:
        """A request is held. True where the queue has begun or doubled, which is worth telling at once: more replicas
        may be needed."""
        now = _time_ns() // 1000
        self.waiting_since[request_id] = now
        self.waiting = len(self.waiting_since)
        self.is_changed = True
        if self.waiting <= 2 * self.told_waiting or (not self.told_waiting and 0 <= now - self.rang_us < _RING_US):
            return False
        self.told_waiting, self.rang_us = self.waiting, now
        return True

    def waits_no_more(self, request_id: str) -> None:
        """It is held no longer."""
        self.waiting_since.pop(request_id, None)
        self.waiting = len(self.waiting_since)
        self.is_changed = True

    def queue_us(self) -> int | None:
        """How long the oldest of those who wait has waited; None where nobody does. Microseconds."""
        for since in self.waiting_since.values():
            return max(0, _time_ns() // 1000 - since)
        return None

    def began(self, replica_id: str) -> None:
        """A request was given to a replica."""
        self.in_flight += 1
        before = self.replicas.get(replica_id, 0)
        self.replicas[replica_id] = before + 1
        self.is_changed = True
        if not before:
            times = self.busy.get(replica_id)
            if times is None:
                times = self.busy[replica_id] = BusyTimes()
            times.began(_time_ns() // 1000)

    def ended(self, replica_id: str) -> bool:
        """A replica is done with a request. True for its last one, which is worth telling at once: a drain may wait."""
        self.in_flight -= 1
        self.is_changed = True
        left = self.replicas[replica_id] - 1
        if left:
            self.replicas[replica_id] = left
            return False
        del self.replicas[replica_id]
        self.busy[replica_id].ended(_time_ns() // 1000)
        return True

    def busy_document(self) -> dict[str, list[list[int]]]:
        """By replica, when it was busy; up to now where it is. What has been idle for long is forgotten."""
        now = _time_ns() // 1000
        for replica_id, times in list(self.busy.items()):
            if times.is_on:
                times.goes_on(now)
            elif now - times.ranges[-1][1] > _BUSY_KEPT_US:
                del self.busy[replica_id]
        return {replica_id: times.ranges for replica_id, times in self.busy.items()}


class Activity:
    """All routes that had a request since the start, and which of them are to be reported."""

    def __init__(self) -> None:
        self._routes: dict[str, RouteActivity] = {}
        self.is_urgent = False

    def arrived(self, route: Route, at_us: int) -> RouteActivity:
        """A request for the route was admitted at ``at_us`` (Unix microseconds). Returns the route's numbers."""
        found = self._routes.get(route.id)
        if found is None:
            found = self._routes[route.id] = RouteActivity()
            found.knows(route)
        found.last_request_us = at_us
        found.is_changed = True
        return found

    def get(self, route_id: str) -> RouteActivity | None:
        """The route's numbers, if it had a request."""
        return self._routes.get(route_id)

    def routes_changed(self, routes: RouteTable) -> None:
        """What is new is told at once: the control plane waits for it before it stops a replica."""
        for route_id, activity in self._routes.items():
            if activity.knows(routes.get(route_id)):
                self.is_urgent = True

    def due(self) -> list[tuple[str, RouteActivity]]:
        """What has changed since it was last reported, and what is busy: a busy row that is not renewed is stale."""
        self.is_urgent = False
        return [(route_id, route) for route_id, route in self._routes.items() if route.is_changed or route.is_busy]
