"""What two revisions that share a route have answered, side by side: the figures by which a trial is judged.

Counted from settled usage events while a route names a trial, told with the route's activity every two seconds, summed
over all workers by the control plane. Running totals since this worker first heard of the trial.
"""

import dataclasses
import math
from typing import Final

from moorage.wire.records import UsageEvent

#: Buckets of first tokens grow by 2 ** (1 / 8), some 9 %: fine enough to tell one and a half from one.
BUCKETS_A_DOUBLING: Final = 8
#: Says of the caller, not of the revision: a revoked key, a limit.
_CALLERS: Final = frozenset({401, 429})


@dataclasses.dataclass(slots=True)
class Figures:
    """Of one revision. Times are microseconds."""

    requests: int = 0  #: that the engine ended by itself, well or not
    errors: int = 0  #: it broke, or answered 5xx
    refused: int = 0  #: it answered 4xx
    streams: int = 0  #: with a first token
    first_token_us: int = 0  #: of all streams together, from the request, without what was spent waiting for a replica
    first_token: dict[int, int] = dataclasses.field(default_factory=dict)  #: streams by bucket
    stream_tokens: int = 0  #: after the first of each stream
    stream_us: int = 0  #: from first token to end
    whole_answers: int = 0
    whole_tokens: int = 0
    whole_us: int = 0

    def observe(self, event: UsageEvent) -> None:
        """Count a settled request of this revision."""
        if event.outcome == "engine_failed":
            self.requests += 1
            self.errors += 1
        elif event.outcome == "refused":
            if 400 <= event.status < 500 and event.status not in _CALLERS:
                self.requests += 1
                self.refused += 1
        elif event.outcome == "completed":
            self.requests += 1
            self._observe_answer(event)

    def _observe_answer(self, event: UsageEvent) -> None:
        first = event.first_token_at_us
        if not event.is_stream:
            self.whole_answers += 1
            self.whole_tokens += event.output_tokens
            self.whole_us += max(0, event.ended_at_us - event.started_at_us - event.held_us)
        elif first is not None:
            took = max(1, first - event.started_at_us - event.held_us)
            bucket = bucket_of(took)
            self.streams += 1
            self.first_token_us += took
            self.first_token[bucket] = self.first_token.get(bucket, 0) + 1
            self.stream_tokens += max(0, event.output_tokens - 1)
            self.stream_us += event.ended_at_us - first


def bucket_of(microseconds: int) -> int:
    """The bucket of a duration of at least one microsecond."""
    return int(math.log2(microseconds) * BUCKETS_A_DOUBLING)


class Trial:
    """Of one route, while the route names it."""

    def __init__(self, id: str) -> None:
        self.id: Final = id
        self._revisions: dict[str, Figures] = {}

    def observe(self, event: UsageEvent) -> None:
        """Count a settled request; one that never got as far as a replica says nothing of a revision."""
        if event.replica_id:
            self._revisions.setdefault(event.revision_id, Figures()).observe(event)

    def document(self) -> dict[str, object]:
        """As it is written to the row: the trial's id, and the figures by revision id."""
        revisions = {name: dataclasses.asdict(figures) for name, figures in self._revisions.items()}
        return {"trial": self.id, "revisions": revisions}
