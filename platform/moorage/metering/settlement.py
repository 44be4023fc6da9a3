"""What records mean: which requests have ended, and what a dead gateway's open requests settle at.

Pure: records in, usage events out. A request is known by the bytes of its id, and its open stays as it was read: nearly
every open is followed by its close, and needs no decoding.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping

import msgspec

from moorage.metering import bounds
from moorage.wire import journal
from moorage.wire.records import UsageEvent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A request whose close has not been read: its open's payload, the last segment that has it, how far it was."""

    opened: bytes
    segment: int
    progress: journal.Progress | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Absorbed:
    """What some records said."""

    live: dict[bytes, Live]
    #: The payloads of closes.
    closed: list[bytes]
    #: The offset behind the last record; None when there was none.
    reached: int | None
    #: Whole records that are none of this format.
    unreadable: int


def absorb(live: Mapping[bytes, Live], records: Iterable[tuple[int, bytes, int]], *, segment: int) -> Absorbed:
    """``live`` advanced by the scanned ``records`` of segment number ``segment``, and what was closed in them.

    An open that is repeated (a rotation carries it into the next segment) keeps its progress. A checkpoint never
    takes back what an earlier one has delivered.
    """
    after = dict(live)
    opened: dict[bytes, bytes] = {}  # in these records; most are closed in them too
    closed: list[bytes] = []
    reached: int | None = None
    unreadable = 0
    for kind, payload, reached in records:  # noqa: B007
        try:
            if kind == journal.CHECKPOINT:
                after = _advanced(_merged(after, opened, segment), journal.decode_checkpoint(payload))
                opened = {}
                continue
            request = journal.key_of(payload)
        except msgspec.DecodeError:
            unreadable += 1
            continue
        if kind == journal.OPEN:
            opened[request] = payload
        else:
            opened.pop(request, None)
            after.pop(request, None)
            closed.append(payload)
    return Absorbed(live=_merged(after, opened, segment), closed=closed, reached=reached, unreadable=unreadable)


def _merged(live: dict[bytes, Live], opened: Mapping[bytes, bytes], segment: int) -> dict[bytes, Live]:
    for request, payload in opened.items():
        known = live.get(request)
        live[request] = Live(opened=payload, segment=segment, progress=known.progress if known else None)
    return live


def _advanced(live: dict[bytes, Live], checkpoint: journal.Checkpoint) -> dict[bytes, Live]:
    for progress in checkpoint.streams:
        request = journal.key(progress.request_id)
        known = live.get(request)
        if known and (known.progress is None or progress.output_tokens >= known.progress.output_tokens):
            live[request] = dataclasses.replace(known, progress=progress)
    return live


def settle(live: Iterable[Live]) -> list[UsageEvent]:
    """The events of requests that died with their gateway: what the last checkpoint says was delivered, else zero.

    An open that cannot be decoded gives none.
    """
    found = []
    for request in live:
        with contextlib.suppress(msgspec.DecodeError):
            found.append(_lost(request))
    return found


def _lost(request: Live) -> UsageEvent:
    event, progress = bounds.read(request.opened), request.progress
    if progress is None:
        return msgspec.structs.replace(
            event, outcome="gateway_lost", source="none", input_tokens=0, cached_tokens=0, output_tokens=0
        )
    return bounds.sane(
        msgspec.structs.replace(
            event,
            outcome="gateway_lost",
            source=progress.source,
            input_tokens=progress.input_tokens,
            cached_tokens=progress.cached_tokens,
            output_tokens=progress.output_tokens,
            ended_at_us=progress.at_us,
        )
    )
