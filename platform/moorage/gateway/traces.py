"""One OpenTelemetry trace a request: what it waited for, when its first token came, how it ended. Never a word of it.

The event loop puts the settled usage event into a bounded queue, which costs less than a microsecond; spans are made
and exported in a thread of their own, and when that falls behind, traces are dropped and counted, requests do not wait.
A client's W3C ``traceparent`` is continued, its decision to sample included.
"""

import collections
import random
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from moorage.gateway.settings import Settings, SettingsError
from moorage.wire.records import UsageEvent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

#: https://www.w3.org/TR/trace-context/#traceparent-header, version 00.
_TRACEPARENT: Final = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED: Final = 0x01
_WAITING_MAX: Final = 4096
_BATCH: Final = 128
_PAUSE_SECONDS: Final = 1.0
_EXPORT_SECONDS: Final = 5.0
_LAST_EXPORT_SECONDS: Final = 3.0


class Parent(NamedTuple):
    """The client's span."""

    trace_id: int
    span_id: int
    is_sampled: bool


class Told(NamedTuple):
    """One settled request, on its way to the thread."""

    event: UsageEvent
    parent: Parent | None
    has_woken: bool


#: The spans of one request.
Make = Callable[[Told], "list[ReadableSpan]"]
#: Takes spans; returns whether they were delivered. Blocks.
Export = Callable[[Sequence["ReadableSpan"]], bool]


def parent_of(traceparent: bytes) -> Parent | None:
    """The header's meaning; None for none and for one that is malformed, which then starts a trace of its own."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None:
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    return Parent(trace_id, span_id, bool(int(found[3], 16) & _SAMPLED)) if trace_id and span_id else None


class Traces:
    """``tell`` belongs to the event loop, everything else to the thread between ``start`` and ``stop``."""

    def __init__(self, *, make: Make, export: Export, ratio: float = 1.0) -> None:
        """``ratio`` of the requests without a parent are traced."""
        self._make = make
        self._export = export
        self._ratio = ratio
        self._waiting: collections.deque[Told] = collections.deque()
        self._ring = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self.exported = 0
        self.dropped = 0

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def tell(self, event: UsageEvent, traceparent: bytes = b"", *, has_woken: bool = False) -> None:
        """Trace a settled request, if it is among those that are. ``has_woken``: it found the model asleep."""
        parent = parent_of(traceparent)
        if not (parent.is_sampled if parent is not None else self._ratio >= 1 or random.random() < self._ratio):  # noqa: S311
            return
        waiting = self._waiting
        if len(waiting) >= _WAITING_MAX:
            self.dropped += 1
            return
        waiting.append(Told(event, parent, has_woken))
        if len(waiting) >= _BATCH and not self._ring.is_set():
            self._ring.set()

    def stop(self) -> None:
        """Export what waits, for a few seconds at most. Blocks."""
        self._is_stopping = True
        self._ring.set()
        self._thread.join(_LAST_EXPORT_SECONDS)

    def _run(self) -> None:
        while True:
            self._ring.wait(_PAUSE_SECONDS)
            self._ring.clear()
            is_last = self._is_stopping
            while self._waiting:
                told = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                if self._export([span for each in told for span in self._make(each)]):
                    self.exported += len(told)
                else:
                    self.dropped += len(told)
            if is_last:
                return


def configured(settings: Settings, *, boot_id: str) -> Traces | None:
    """Traces to the OTLP collector of ``settings``, or None where none is named. Raises SettingsError."""
    if not settings.otlp_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult

        from moorage.gateway.spans import SpanMaker
    except ImportError as error:
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: install moorage[traces]"
        ) from error
    exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS)

    def export(spans: Sequence["ReadableSpan"]) -> bool:
        return exporter.export(spans) is SpanExportResult.SUCCESS

    return Traces(make=SpanMaker(boot_id=boot_id).of, export=export, ratio=settings.trace_ratio)
