"""A settled request as OpenTelemetry spans: one of the server, one of the time in the queue, one of the engine's work.

Names follow the semantic conventions for HTTP and generative AI where these have one. Imported only when traces are
exported: OpenTelemetry is an optional dependency.
"""

import random
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import AttributeValue

from moorage.gateway.traces import Told
from moorage.wire.records import UsageEvent

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SCOPE: Final = InstrumentationScope("moorage.gateway")


class SpanMaker:
    """Makes the spans of one worker's requests."""

    def __init__(self, *, boot_id: str) -> None:
        # The service's name and further attributes may come from OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
        resource = Resource.create({"service.instance.id": boot_id})
        if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "moorage-gateway"}))
        self._resource = resource
        self._random = random.SystemRandom()

    def of(self, told: Told) -> list[ReadableSpan]:
        """All spans of one request, its own first."""
        event, parent = told.event, told.parent
        started, ended = event.started_at_us, event.ended_at_us
        trace_id = parent.trace_id if parent is not None else self._random.getrandbits(128) or 1
        above = SpanContext(trace_id, parent.span_id, is_remote=True, trace_flags=_SAMPLED) if parent else None
        own = self._context(trace_id)
        spans = [
            self._span(
                f"POST {event.path}",
                own,
                above,
                SpanKind.SERVER,
                started,
                ended,
                attributes=_attributes(event),
                events=[_event("done", ended)],
                status=Status(StatusCode.ERROR) if event.status >= 500 or event.outcome == "engine_failed" else None,
            )
        ]
        sent = started + event.held_us
        if event.held_us:
            events = [_event("wake", started)] if told.has_woken else []
            queue = self._context(trace_id)
            spans.append(self._span("queue", queue, own, SpanKind.INTERNAL, started, sent, events=events))
        if event.replica_id:
            first = event.first_token_at_us
            events = [_event("first_token", first)] if first is not None else []
            attributes: dict[str, AttributeValue] = {"moorage.replica.id": event.replica_id}
            engine = self._context(trace_id)
            spans.append(
                self._span("engine", engine, own, SpanKind.CLIENT, sent, ended, attributes=attributes, events=events)
            )
        return spans

    def _context(self, trace_id: int) -> SpanContext:
        return SpanContext(trace_id, self._random.getrandbits(64) or 1, is_remote=False, trace_flags=_SAMPLED)

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        started_us: int,
        ended_us: int,
        *,
        attributes: dict[str, AttributeValue] | None = None,
        events: list[Event] | None = None,
        status: Status | None = None,
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes or {},
            events=events or [],
            kind=kind,
            status=status or Status(StatusCode.UNSET),
            start_time=started_us * 1000,
            end_time=max(started_us, ended_us) * 1000,
            instrumentation_scope=_SCOPE,
        )


def _event(name: str, at_us: int) -> Event:
    return Event(name, {}, at_us * 1000)


def _attributes(event: UsageEvent) -> dict[str, AttributeValue]:
    """Ids, numbers and the route: what the access log's line has, too."""
    return {
        "http.request.method": "POST",
        "http.route": event.path,
        "http.response.status_code": event.status,
        "gen_ai.usage.input_tokens": event.input_tokens,
        "gen_ai.usage.output_tokens": event.output_tokens,
        "moorage.request.id": event.request_id,
        "moorage.organization.id": event.organization_id,
        "moorage.deployment.id": event.deployment_id,
        "moorage.revision.id": event.revision_id,
        "moorage.key.id": event.key_id,
        "moorage.outcome": event.outcome,
        "moorage.is_stream": event.is_stream,
        "moorage.cached_tokens": event.cached_tokens,
        "moorage.usage_source": event.source,
    }
