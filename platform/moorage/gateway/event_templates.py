"""Usage events that lack only what each request adds: most members of an event are those of its route and its key.

Copying a struct of some twenty members costs a fraction of making it from its members, and each request makes two.
"""

from moorage.wire.records import Route, UsageEvent

#: Forgotten all at once when there are more: as many as there are keys in use, times their models.
_MOST = 8192


class EventTemplates:
    """One a worker. A route that has changed is another object, and so has a template of its own."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str, str, bool], tuple[Route, UsageEvent]] = {}

    def of(self, route: Route, key_id: str, path: str, is_stream: bool) -> UsageEvent:
        """An event as it stands when nothing is known of how the request ends."""
        place = (id(route), key_id, path, is_stream)
        found = self._kept.get(place)
        # The route is kept too, so its id is nobody else's while it is here.
        if found is not None and found[0] is route:
            return found[1]
        if len(self._kept) >= _MOST:
            self._kept.clear()
        event = UsageEvent(
            request_id="",
            organization_id=route.organization_id,
            deployment_id=route.deployment_id,
            revision_id=route.revision_id,
            replica_id="",
            key_id=key_id,
            model_key=route.model_key,
            served_name=route.served_name,
            path=path,
            is_stream=is_stream,
            outcome="gateway_lost",
            status=0,
            input_tokens=0,
            cached_tokens=0,
            output_tokens=0,
            source="none",
            started_at_us=0,
        )
        self._kept[place] = (route, event)
        return event
