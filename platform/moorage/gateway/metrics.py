"""What one worker counts: plain counters and histograms, shown by ``exposition``. No tenant appears in a label."""

import dataclasses
from typing import Final

from moorage.gateway.histogram import Histogram
from moorage.gateway.settled import Settled
from moorage.wire.records import Outcome

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
    requests: dict[tuple[str, int], int] = dataclasses.field(default_factory=dict)  #: by path and status
    outcomes: dict[str, int] = dataclasses.field(default_factory=dict)
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

    def answers(self, path: str, status: int) -> None:
        """Count an answer that is on its way."""
        of = (path, status)
        self.requests[of] = self.requests.get(of, 0) + 1

    def observe(
        self, settled: Settled, outcome: Outcome, started: int, first: int | None, ended: int, held: int
    ) -> None:
        """Count a settled request. Moments, and how long it was held, are microseconds; ``first`` is when the first
        token of a stream went out: an answer in one piece has none that anybody saw."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        output_tokens = settled.output_tokens
        self.input_tokens += settled.input_tokens
        self.cached_tokens += settled.cached_tokens
        self.output_tokens += output_tokens
        if settled.is_disputed:
            self.usage_disagreements += 1
        self.request_seconds.observe(ended - started)
        if held:
            self.queue_seconds.observe(held)
        if first is not None:
            self.first_token_seconds.observe(first - started)
            if output_tokens > 1:
                self.between_tokens_seconds.observe((ended - first) // (output_tokens - 1))
