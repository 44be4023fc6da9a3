"""Where a model name leads: routes by organization and served name. A stranger's model does not exist."""

from collections.abc import Iterable, Iterator
from typing import Final

from moorage.gateway.errors import ModelNotFound
from moorage.wire.records import KeyGrant, Route

#: Statuses in which a request may be held until a replica is ready.
WAKING: Final = frozenset({"idle", "provisioning"})


class RouteTable:
    """An immutable view of all routes; a change makes a new table that is swapped in."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._by_id: Final = {route.id: route for route in routes}
        self._by_name: Final = {(route.organization_id, route.served_name): route for route in self._by_id.values()}

    def __iter__(self) -> Iterator[Route]:
        return iter(self._by_id.values())

    def get(self, route_id: str) -> Route | None:
        """The route of that id, or None."""
        return self._by_id.get(route_id)

    def replacing(self, route_id: str, route: Route | None) -> "RouteTable":
        """A table in which ``route_id`` leads to ``route``, or nowhere."""
        kept = [other for other in self._by_id.values() if other.id != route_id]
        return RouteTable([*kept, route] if route is not None else kept)

    def find(self, served_name: str, grant: KeyGrant) -> Route:
        """The route that ``grant`` may call. Raises ModelNotFound."""
        route = self._by_name.get((grant.organization_id, served_name))
        if route is None or (grant.models and served_name not in grant.models):
            raise ModelNotFound(param="model")
        return route

    def allowed(self, grant: KeyGrant) -> list[Route]:
        """All routes that ``grant`` may call, by name."""
        mine = [
            route
            for route in self._by_id.values()
            if route.organization_id == grant.organization_id
            and (not grant.models or route.served_name in grant.models)
        ]
        return sorted(mine, key=lambda route: route.served_name)


def is_serving(route: Route) -> bool:
    """Whether a request can go to a replica now."""
    return bool(route.replicas) and (route.status == "ready" or route.status in WAKING)


def is_waking(route: Route) -> bool:
    """Whether it is worth waiting for a replica. A ready route without one is between two replicas."""
    return not is_serving(route) and (route.status == "ready" or route.status in WAKING)
