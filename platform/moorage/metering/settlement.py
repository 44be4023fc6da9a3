"""What records mean: which requests have ended with what usage, and what a dead gateway's open requests settle at.

Pure: records in, usage events out.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from moorage.wire import journal
from moorage.wire.records import UsageEvent

_MAX_COUNT: Final = 2**62
_MAX_US: Final = 4_102_444_800_000_000  # the year 2100
#: Widths of the text columns of usage_event.
_WIDTHS: Final[Mapping[str, int]] = {
    "request_id": 40,
    "organization_id": 40,
    "deployment_id": 40,
    "revision_id": 40,
    "replica_id": 40,
    "key_id": 40,
    "model_key": 120,
    "served_name": 170,
    "path": 80,
    "outcome": 24,
    "source": 24,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A request whose close has not been read: its open, the last segment that has it, and how far it was."""

    event: UsageEvent
    segment: int
    progress: journal.Progress | None = None


def absorb(
    live: Mapping[str, Live], records: Iterable[journal.Record], *, segment: int
) -> tuple[dict[str, Live], list[UsageEvent]]:
    """``live`` advanced by ``records`` of segment number ``segment``, and the events that were closed in them.

    An open that is repeated (a rotation carries it into the next segment) keeps its progress. A checkpoint never
    takes back what an earlier one has delivered.
    """
    after = dict(live)
    closed: list[UsageEvent] = []
    for record in records:
        match record:
            case journal.Open(event=event):
                known = after.get(event.request_id)
                progress = known.progress if known else None
                after[event.request_id] = Live(event=event, segment=segment, progress=progress)
            case journal.Checkpoint(streams=streams):
                for progress in streams:
                    known = after.get(progress.request_id)
                    if known and (known.progress is None or progress.output_tokens >= known.progress.output_tokens):
                        after[progress.request_id] = dataclasses.replace(known, progress=progress)
            case journal.Close(event=event):
                after.pop(event.request_id, None)
                closed.append(sane(event))
    return after, closed


def settle(live: Mapping[str, Live]) -> list[UsageEvent]:
    """The events of requests that died with their gateway: what the last checkpoint says was delivered, else zero."""
    return [_lost(request) for request in live.values()]


def _lost(request: Live) -> UsageEvent:
    progress = request.progress
    if progress is None:
        ended = max(request.event.started_at_us, request.event.ended_at_us)
        return sane(
            msgspec.structs.replace(
                request.event,
                outcome="gateway_lost",
                source="none",
                input_tokens=0,
                cached_tokens=0,
                output_tokens=0,
                ended_at_us=ended,
            )
        )
    source = progress.source if progress.source in {"engine_running", "gateway"} else "none"
    return sane(
        msgspec.structs.replace(
            request.event,
            outcome="gateway_lost",
            source=source,
            input_tokens=progress.input_tokens,
            cached_tokens=progress.cached_tokens,
            output_tokens=progress.output_tokens,
            ended_at_us=progress.at_us,
        )
    )


def sane(event: UsageEvent) -> UsageEvent:
    """``event`` within what the table can hold, never more than it said: one odd record must not stop the rest."""
    input_tokens = _bounded(event.input_tokens, _MAX_COUNT)
    started = _bounded(event.started_at_us, _MAX_US)
    first = event.first_token_at_us
    texts = {name: _text(getattr(event, name), width) for name, width in _WIDTHS.items()}
    return msgspec.structs.replace(
        event,
        **texts,
        status=_bounded(event.status, 2**31 - 1),
        input_tokens=input_tokens,
        cached_tokens=min(_bounded(event.cached_tokens, _MAX_COUNT), input_tokens),
        output_tokens=_bounded(event.output_tokens, _MAX_COUNT),
        started_at_us=started,
        first_token_at_us=None if first is None else _bounded(first, _MAX_US),
        ended_at_us=max(started, _bounded(event.ended_at_us, _MAX_US)),
        held_us=_bounded(event.held_us, 10**12 - 1),
    )


def _bounded(number: int, most: int) -> int:
    return min(max(number, 0), most)


def _text(text: str, width: int) -> str:
    return text[:width].replace("\0", "") if "\0" in text or len(text) > width else text
