"""Usage events as PostgreSQL's binary COPY takes them: the shipper's inner loop.

Half of an event are texts that are the same from request to request (whose, where, with which key): those are written
once and looked up. A row is a count of fields, then each field's length and bytes, all big-endian; a moment is
microseconds since 2000; a numeric is digits to the base 10,000.
https://www.postgresql.org/docs/18/sql-copy.html
"""

import dataclasses
import struct
from collections.abc import Iterable, Iterator
from typing import Final

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
_FIELDS_AND_ID: Final = struct.Struct(">hi")
_FIELDS: Final = COLUMNS.count(",") + 1
_LENGTH: Final = struct.Struct(">i")
#: Both flags, the status, three counts and two moments, each behind its length.
_NUMBERS: Final = struct.Struct(">i?i?iiiqiqiqiqiq")
_NO_MOMENT: Final = _LENGTH.pack(-1)
_MOMENT: Final = struct.Struct(">iq")
#: Length, then how many digits, the weight of the first, the sign, decimals shown; then the digits.
_NUMERIC: Final = struct.Struct(">ihhhhHHHH")
_ZERO: Final = struct.pack(">ihhhh", 8, 0, 0, 0, 6)
_SINCE_2000_US: Final = 946_684_800_000_000
#: Sets of texts that are remembered: some megabytes.
_MOST_TEXTS: Final = 20_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some events, ready to be sent."""

    #: The content of one COPY.
    pieces: tuple[bytes, ...]
    #: When each key was used last, in Unix microseconds; empty when there are no events.
    last_uses: dict[str, int]


class CopyRows:
    """Writes the events of one boot, and keeps their texts between batches."""

    def __init__(self, boot_id: str = "") -> None:
        self._boot_id = boot_id
        self._texts: dict[tuple[str, ...], bytes] = {}

    def batch(self, events: Iterable[UsageEvent]) -> Batch:
        """``events`` as a batch."""
        uses: dict[str, int] = {}
        return Batch(pieces=tuple(self._pieces(events, uses)), last_uses=uses)

    def _pieces(self, events: Iterable[UsageEvent], uses: dict[str, int]) -> Iterator[bytes]:
        texts, head = self._texts, _FIELDS_AND_ID.pack
        numbers, moment, start_of_time = _NUMBERS.pack, _MOMENT.pack, _SINCE_2000_US
        rows: list[bytes] = []
        yield _HEAD
        for event in events:
            key_id = event.key_id
            same = (
                key_id,
                event.organization_id,
                event.deployment_id,
                event.revision_id,
                event.replica_id,
                event.model_key,
                event.served_name,
                event.path,
                event.outcome,
                event.source,
            )
            written = texts.get(same) or self._remember(event, same)
            # PostgreSQL's text cannot hold a NUL.
            request_id = event.request_id.replace("\0", "").encode()
            ended, first, held = event.ended_at_us, event.first_token_at_us, event.held_us
            if ended > uses.get(key_id, 0):
                uses[key_id] = ended
            rows.append(
                head(_FIELDS, len(request_id))
                + request_id
                + written
                + numbers(
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
                    event.started_at_us - start_of_time,
                    8,
                    ended - start_of_time,
                )
                + (_NO_MOMENT if first is None else moment(8, first - start_of_time))
                + (_seconds(held) if held else _ZERO)
            )
            if len(rows) == _PIECE_ROWS:
                rows.sort()
                yield b"".join(rows)
                rows.clear()
        rows.sort()
        rows.append(_TAIL)
        yield b"".join(rows)

    def _remember(self, event: UsageEvent, same: tuple[str, ...]) -> bytes:
        fields = (
            self._boot_id,
            event.organization_id,
            event.deployment_id,
            event.revision_id,
            event.replica_id,
            event.key_id,
            event.model_key,
            event.served_name,
            event.path,
            event.outcome,
            event.source,
        )
        encoded = [field.replace("\0", "").encode() for field in fields]
        written = b"".join(_LENGTH.pack(len(field)) + field for field in encoded)
        if len(self._texts) >= _MOST_TEXTS:
            self._texts.clear()
        self._texts[same] = written
        return written


def _seconds(microseconds: int) -> bytes:
    """Microseconds as a numeric of seconds; below 10**8 seconds, which bounds holds."""
    whole, part = divmod(microseconds, 1_000_000)
    return _NUMERIC.pack(16, 4, 1, 0, 6, whole // 10_000, whole % 10_000, part // 100, part % 100 * 100)
