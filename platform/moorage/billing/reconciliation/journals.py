"""R3: what the gateways wrote down as settled is in the usage, with the same tokens.

Two of the gateways' own records are looked at: closes in the journal segments that are still on disk, up to where the
shipper says it has committed, and the access log. Either is there only on a machine that has it, and both are cut in
time: what is missing there proves nothing, so nothing is concluded from it.
"""

import dataclasses
import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from django.conf import settings

from moorage.accounts.models import GatewayWorker
from moorage.billing.reconciliation.findings import KEPT_MOST, Finding, Result, Window
from moorage.kernel import ids
from moorage.metering import bounds
from moorage.metering import queries as metering
from moorage.metering import segment as segments
from moorage.metering.models import JournalSegment, ShippedBoot, UsageEvent
from moorage.metering.segment import DamagedSegment
from moorage.wire import journal

#: So much of each access log is read, from its end.
LOG_MOST_BYTES: Final = 32 << 20
#: So many records of the journals.
RECORDS_MOST: Final = 200_000
#: A gateway that reported last so long ago is dead; the shipper settles it within minutes.
BOOT_SETTLED_WITHIN: Final = dt.timedelta(hours=1)
_LINE: Final = re.compile(
    r"request_settled request=(req_[0-9a-z]{26}) .*?outcome=(\S+) organization=(\S+) .*?"
    r"input=([0-9]+) cached=([0-9]+) output=([0-9]+) source=\S+ ms=([0-9]+)"
)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A request as a gateway wrote it down: where, and its tokens."""

    request_id: str
    organization_id: str
    place: str
    #: All input tokens, the cached ones among them, output tokens.
    tokens: tuple[int, int, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The same request in the usage."""

    tokens: tuple[int, int, int]
    #: The gateway died: what its last checkpoint said counts, not what it had written to its log.
    is_lost: bool = False


def compare_journals(
    written: Iterable[Written],
    recorded: Mapping[str, Recorded],
    *,
    set_aside: Iterable[str] = (),
    unsettled_boots: Iterable[str] = (),
) -> tuple[Finding, ...]:
    """Settled requests that are not in the usage or have other tokens there, and journals that nobody could read."""
    found = []
    for one in written:
        usage = recorded.get(one.request_id)
        about = {"subject": one.request_id, "organization_id": one.organization_id}
        if usage is None:
            sentence = f"The gateway wrote it down as settled ({one.place}); there is no usage of it."
            found.append(Finding(code="usage_missing", sentence=sentence, **about))
        elif usage.tokens != one.tokens and not usage.is_lost:
            sentence = (
                f"The gateway wrote down {_words(one.tokens)} ({one.place}); the usage has {_words(usage.tokens)}."
            )
            found.append(Finding(code="tokens_differ", sentence=sentence, request_id=one.request_id, **about))
    for name in set_aside:
        sentence = "The shipper could not read all of this segment and has set it aside in the journal directory."
        found.append(Finding(code="segment_set_aside", sentence=sentence, subject=name))
    for boot_id in unsettled_boots:
        sentence = "This gateway worker is dead, and its journal has never been read to its end."
        found.append(Finding(code="boot_not_shipped", sentence=sentence, subject=boot_id))
    return tuple(found)


def _words(tokens: tuple[int, int, int]) -> str:
    return f"{tokens[0]:,} input ({tokens[1]:,} cached) and {tokens[2]:,} output tokens"


def read_log(lines: Iterable[str], *, place: str, until: dt.datetime) -> Iterator[Written]:
    """The settled requests of an access log that had ended before ``until``. Pure; other lines are passed over."""
    for line in lines:
        match = _LINE.search(line)
        if match is None:
            continue
        request_id, _, organization_id, *numbers, milliseconds = match.groups()
        began = ids.decode(request_id.removeprefix("req_")) >> 80
        if _EPOCH + dt.timedelta(milliseconds=began + int(milliseconds)) < until:
            tokens = (int(numbers[0]), int(numbers[1]), int(numbers[2]))
            yield Written(request_id=request_id, organization_id=organization_id, place=place, tokens=tokens)


def journals(window: Window, *, directory: Path | None = None, logs: Path | None = None) -> Result:
    """R3 over what is on this machine. The places are those of the instance."""
    directory = directory or settings.MOORAGE_JOURNAL_DIR
    logs = logs or settings.MOORAGE_HOME / "logs"
    shipped = metering.shipped_until()
    written, notes, set_aside = list[Written](), list[str](), list[str]()
    if directory.is_dir():
        written += _closes(directory)
        set_aside = sorted(path.name for path in directory.iterdir() if path.name.endswith(segments.DAMAGED_SUFFIX))
    else:
        notes.append("There is no journal directory on this machine.")
    found = sorted(logs.glob("gateway*.log*")) if logs.is_dir() else []
    if found and shipped is not None:
        for path in found:
            written += read_log(_tail(path), place=path.name, until=shipped)
    else:
        notes.append("There is no access log of a gateway on this machine, or nothing is shipped yet.")
    recorded = _recorded({one.request_id for one in written})
    findings = compare_journals(
        written, recorded, set_aside=set_aside, unsettled_boots=_unsettled(window.now - BOOT_SETTLED_WITHIN)
    )
    return Result(
        compared=len(written),
        findings=findings[:KEPT_MOST],
        finding_count=len(findings),
        note=" ".join(notes),
    )


def _closes(directory: Path) -> list[Written]:
    """What the segments hold that the shipper says is committed."""
    offsets = dict(JournalSegment.objects.values_list("name", "offset"))
    found: list[Written] = []
    for segment in reversed(segments.segments(directory.iterdir())):
        committed = offsets.get(segment.name)
        if committed is None:
            continue
        try:
            found += _closes_of(segment, committed)
        except (FileNotFoundError, DamagedSegment):
            continue  # shipped and deleted, or set aside, since we looked
        if len(found) >= RECORDS_MOST:
            break
    return found


def _closes_of(segment: segments.Segment, committed: int) -> Iterator[Written]:
    version = segments.version(segment.path)
    offset = 0
    while version and offset < committed:
        chunk = segments.read_chunk(segment.path, offset, version=version)
        reached = offset
        for kind, payload, end in chunk.records():
            if end > committed:
                return
            reached = end
            if kind != journal.CLOSE:
                continue
            try:
                event = bounds.read(payload)
            except msgspec.DecodeError:
                continue  # the shipper sets such a segment aside, which is a finding of its own
            yield Written(
                request_id=event.request_id,
                organization_id=event.organization_id,
                place=segment.name,
                tokens=(event.input_tokens, event.cached_tokens, event.output_tokens),
            )
        if chunk.is_end or reached == offset:
            return
        offset = reached


def _tail(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LOG_MOST_BYTES))
        for line in file:
            yield line.decode("utf-8", "replace")


def _recorded(request_ids: set[str]) -> dict[str, Recorded]:
    found: dict[str, Recorded] = {}
    wanted = sorted(request_ids)
    for begin in range(0, len(wanted), 5000):
        rows = UsageEvent.objects.filter(pk__in=wanted[begin : begin + 5000]).values_list(
            "request_id", "input_tokens", "cached_tokens", "output_tokens", "outcome"
        )
        found |= {row[0]: Recorded(tokens=(row[1], row[2], row[3]), is_lost=row[4] == "gateway_lost") for row in rows}
    return found


def _unsettled(dead_since: dt.datetime) -> list[str]:
    silent = GatewayWorker.objects.filter(heartbeat_at__lt=dead_since)
    return sorted(
        silent.exclude(pk__in=ShippedBoot.objects.values("pk")).order_by("pk").values_list("pk", flat=True)[:100]
    )
