"""Closes as PostgreSQL's binary COPY takes them: the shipper's inner loop.

Half of an event are texts that are the same from request to request (whose, where, with which key), and they lie side
by side in its payload: their bytes are looked up, so that only the first event that has them decodes and writes them.
What is different in each event is decoded and bounded at once. Whatever looks unusual goes the plain way, event by
event.

A row is a count of fields, then each field's length and bytes, all big-endian; a moment is microseconds since 2000; a
numeric is digits to the base 10,000.
https://www.postgresql.org/docs/18/sql-copy.html
"""

import dataclasses
import struct
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from moorage.metering import bounds
from moorage.metering.bounds import Ending
from moorage.wire import journal
from moorage.wire.records import UsageEvent

#: In the order of a row's fields.
COLUMNS: Final = (
    "request_id, boot_id, organization_id, deployment_id, revision_id, replica_id, key_id, model_key, served_name,"
    " path, outcome, source, is_stream, is_disputed, status, input_tokens, cached_tokens, output_tokens, started_at,"
    " ended_at, first_token_at, held_seconds"
)
#: Rows that are sorted and sent together: neighbours in the table's index.
_PIECE_ROWS: Final = 2000
_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TAIL: Final = b"\xff\xff"
_FIELDS: Final = COLUMNS.count(",") + 1
_FIELDS_AND_ID: Final = struct.Struct(">hi")
_LENGTH: Final = struct.Struct(">i")
#: Both flags, the status, three counts and two moments, each behind its length.
_NUMBERS: Final = struct.Struct(">i?i?iiiqiqiqiqiq")
_NO_MOMENT: Final = _LENGTH.pack(-1)
_MOMENT: Final = struct.Struct(">iq")
#: Length, then how many digits, the weight of the first, the sign, decimals shown; then the digits.
_NUMERIC: Final = struct.Struct(">ihhhhHHHH")
_ZERO: Final = struct.pack(">ihhhh", 8, 0, 0, 0, 6)
_SINCE_2000_US: Final = 946_684_800_000_000
#: Sets of texts that are remembered, some megabytes; and how long a set may be in how many ways before all start anew.
_MOST_TEXTS: Final = 20_000
_MOST_LENGTHS: Final = 8
_MOST_WORDS: Final = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some events, ready to be sent."""

    #: The content of one COPY.
    pieces: tuple[bytes, ...]
    #: When each key was used last, in Unix microseconds; empty when there are no events.
    last_uses: dict[str, int]
    #: Payloads that are no events.
    unreadable: int = 0


class CopyRows:
    """Writes the events of one boot, and keeps their texts between batches."""

    def __init__(self, boot_id: str = "") -> None:
        self._boot_id = boot_id
        #: By their bytes in a payload: the same texts as fields of a row, and the key's id among them.
        self._texts: dict[bytes, tuple[bytes, str]] = {}
        #: How many bytes of a payload those are, for all that are known.
        self._lengths: list[int] = []
        self._words: dict[str, bytes] = {}
        self._unreadable = 0

    def batch(self, payloads: Iterable[bytes]) -> Batch:
        """The events of closes' ``payloads``."""
        uses: dict[str, int] = {}
        self._unreadable = 0
        pieces = tuple(_pieces(self._rows(payloads, uses)))
        return Batch(pieces=pieces, last_uses=uses, unreadable=self._unreadable)

    def batch_of(self, events: Iterable[UsageEvent]) -> Batch:
        """The same of ``events``, within bounds."""
        uses: dict[str, int] = {}
        pieces = tuple(_pieces(self._row_of(event, uses) for event in events))
        return Batch(pieces=pieces, last_uses=uses)

    def _rows(self, payloads: Iterable[bytes], uses: dict[str, int]) -> Iterator[bytes]:
        texts, lengths, words = self._texts, self._lengths, self._words
        begin, read_ending, row = journal.ID_END, bounds.read_ending, _row
        for payload in payloads:
            known = ending = None
            if payload[0:1] == b"\xdc" and payload[3:4] == b"\xbe":
                for length in lengths:
                    known = texts.get(payload[begin : begin + length])
                    if known is not None:
                        ending = read_ending(payload, begin + length)
                        break
            if known is None or ending is None:
                try:
                    yield self._row_of(self._learned(payload), uses)
                except msgspec.DecodeError:
                    self._unreadable += 1
                continue
            written, key_id = known
            if ending.ended_at_us > uses.get(key_id, 0):
                uses[key_id] = ending.ended_at_us
            request_id = payload[journal.ID_AT + 1 : begin]
            if b"\0" in request_id or not request_id.isascii():
                yield self._row_of(bounds.read(payload), uses)
                continue
            outcome = words.get(ending.outcome) or self._word(ending.outcome)
            source = words.get(ending.source) or self._word(ending.source)
            yield row(request_id, written, outcome, source, ending)

    def _row_of(self, event: UsageEvent, uses: dict[str, int]) -> bytes:
        """A row without any short cut."""
        event = bounds.sane(event)
        uses[event.key_id] = max(uses.get(event.key_id, 0), event.ended_at_us)
        outcome, source = self._word(event.outcome), self._word(event.source)
        return _row(event.request_id.encode(), self._written(event), outcome, source, event)

    def _learned(self, payload: bytes) -> UsageEvent:
        """The event of ``payload``, whose texts are known from now on. Raises msgspec.DecodeError."""
        event = bounds.read(payload)
        encoded = journal.texts_of(event)
        if len(self._texts) >= _MOST_TEXTS or len(self._lengths) >= _MOST_LENGTHS:
            self._texts.clear()
            self._lengths.clear()
        # Only as they lie in a payload that was within bounds: then they need not be looked at again.
        if payload[journal.ID_END : journal.ID_END + len(encoded)] == encoded and b"\0" not in encoded:
            self._texts[encoded] = (self._written(event), event.key_id)
            if len(encoded) not in self._lengths:
                self._lengths.append(len(encoded))
        return event

    def _written(self, event: UsageEvent) -> bytes:
        texts = (getattr(event, name) for name in journal.TEXTS)
        return b"".join(_field(text.encode()) for text in (self._boot_id, *texts))

    def _word(self, word: str) -> bytes:
        if len(self._words) >= _MOST_WORDS:
            self._words.clear()
        return self._words.setdefault(word, _field(word.encode()))


def _pieces(rows: Iterable[bytes]) -> Iterator[bytes]:
    yield _HEAD
    piece: list[bytes] = []
    for row in rows:
        piece.append(row)
        if len(piece) == _PIECE_ROWS:
            piece.sort()
            yield b"".join(piece)
            piece.clear()
    piece.sort()
    piece.append(_TAIL)
    yield b"".join(piece)


def _row(request_id: bytes, texts: bytes, outcome: bytes, source: bytes, event: Ending | UsageEvent) -> bytes:
    first, held = event.first_token_at_us, event.held_us
    return b"".join(
        (
            _FIELDS_AND_ID.pack(_FIELDS, len(request_id)),
            request_id,
            texts,
            outcome,
            source,
            _NUMBERS.pack(
                1,
                event.is_stream,
                1,
                event.is_disputed,
                4,
                event.status,
                8,
                event.input_tokens,
                8,
                event.cached_tokens,
                8,
                event.output_tokens,
                8,
                event.started_at_us - _SINCE_2000_US,
                8,
                event.ended_at_us - _SINCE_2000_US,
            ),
            _NO_MOMENT if first is None else _MOMENT.pack(8, first - _SINCE_2000_US),
            _seconds(held) if held else _ZERO,
        )
    )


def _field(text: bytes) -> bytes:
    return _LENGTH.pack(len(text)) + text


def _seconds(microseconds: int) -> bytes:
    """Microseconds as a numeric of seconds; below 10**8 seconds, which bounds holds."""
    whole, part = divmod(microseconds, 1_000_000)
    return _NUMERIC.pack(16, 4, 1, 0, 6, whole // 10_000, whole % 10_000, part // 100, part % 100 * 100)
