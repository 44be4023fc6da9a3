"""What one worker counts: plain counters and histograms, shown by ``exposition``. No tenant appears in a label."""

import collections
import dataclasses
from typing import Final

from moorage.gateway.histogram import Histogram
from moorage.wire.records import UsageEvent

#: Upper bounds in seconds. A whole answer may take minutes, a first token a cold start, a token a few milliseconds.
_REQUEST: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_FIRST_TOKEN: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80)
_BETWEEN_TOKENS: Final = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2.5)
_QUEUE: Final = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300)


@dataclasses.dataclass(slots=True)
class JournalMetrics:
    """What the journal writer counts."""

    syncs: int = 0
    sync_seconds: float = 0.0
    failures: int = 0


@dataclasses.dataclass(slots=True)
class Metrics:
    """What the gateway counts since its start, and two gauges."""

    journal: JournalMetrics = dataclasses.field(default_factory=JournalMetrics)
    requests: collections.Counter[tuple[str, int]] = dataclasses.field(default_factory=collections.Counter)
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    usage_disagreements: int = 0
    malformed_frames: int = 0
    engine_retries: int = 0
    wakes: int = 0
    in_flight: int = 0
    held: int = 0
    request_seconds: Histogram = dataclasses.field(default_factory=lambda: Histogram(_REQUEST))
    #: From the request to its first token, waiting for a replica included.
    first_token_seconds: Histogram = dataclasses.field(default_factory=lambda: Histogram(_FIRST_TOKEN))
    #: The mean of each stream.
    between_tokens_seconds: Histogram = dataclasses.field(default_factory=lambda: Histogram(_BETWEEN_TOKENS))
    #: Of those that waited; for all others it is nothing.
    queue_seconds: Histogram = dataclasses.field(default_factory=lambda: Histogram(_QUEUE))

    def observe(self, event: UsageEvent) -> None:
        """Count a settled request; about a microsecond."""
        self.outcomes[event.outcome] += 1
        self.input_tokens += event.input_tokens
        self.cached_tokens += event.cached_tokens
        self.output_tokens += event.output_tokens
        if event.is_disputed:
            self.usage_disagreements += 1
        started, first, ended = event.started_at_us, event.first_token_at_us, event.ended_at_us
        self.request_seconds.observe(ended - started)
        if event.held_us:
            self.queue_seconds.observe(event.held_us)
        # An answer in one piece has no first token that anybody saw.
        if first is not None and event.is_stream:
            self.first_token_seconds.observe(first - started)
            if event.output_tokens > 1:
                self.between_tokens_seconds.observe((ended - first) // (event.output_tokens - 1))
