"""Usage events that lack only what each request adds: most members of an event are those of its route and its key.

Copying a struct of some twenty members costs a fraction of making it from its members, and each request makes two.
"""

from typing import Final

import msgspec

from moorage.wire.journal_forms import OpenForm
from moorage.wire.records import Route, UsageEvent

#: Forgotten all at once when there are more: as many as there are keys in use, times their models.
_MOST: Final = 8192
#: The same of the replicas that a template's requests went to.
_MOST_REPLICAS: Final = 64


class Template:
    """Of the requests of one key for one route, on one path."""

    __slots__ = ("_forms", "before_organization", "before_status", "before_tokens", "event", "route")

    def __init__(self, route: Route, event: UsageEvent) -> None:
        self.route = route
        self.event = event
        self._forms: dict[tuple[str, str], OpenForm] = {}
        #: What of a line in the access log is the same for all of them.
        self.before_status = f" path={event.path} status="
        self.before_organization = (
            f" organization={event.organization_id} deployment={event.deployment_id} key={event.key_id} replica="
        )
        self.before_tokens = f" stream={int(event.is_stream)} input="

    def opening(self, revision_id: str, replica_id: str) -> OpenForm:
        """What the journal is told when a request goes to a replica."""
        form = self._forms.get((revision_id, replica_id))
        if form is None:
            if len(self._forms) >= _MOST_REPLICAS:
                self._forms.clear()
            event = msgspec.structs.replace(self.event, revision_id=revision_id, replica_id=replica_id)
            form = self._forms[revision_id, replica_id] = OpenForm(event)
        return form


class EventTemplates:
    """One a worker. A route that has changed is another object, and so has a template of its own."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, str, str, bool], Template] = {}

    def of(self, route: Route, key_id: str, path: str, is_stream: bool) -> Template:
        """Events as they stand when nothing is known of how the request ends."""
        place = (id(route), key_id, path, is_stream)
        found = self._kept.get(place)
        # The route is kept too, so its id is nobody else's while it is here.
        if found is not None and found.route is route:
            return found
        if len(self._kept) >= _MOST:
            self._kept.clear()
        found = self._kept[place] = Template(
            route,
            UsageEvent(
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
            ),
        )
        return found
