"""The journal: the gateway's append-only record of requests, read by the shipper.

A segment is a file ``<boot id>-<number>.journal`` that begins with :data:`MAGIC`. Each record after it is

    length  u32 little-endian, of the payload
    crc32   u32 little-endian, of kind and payload
    kind    u8: 1 open, 2 checkpoint, 3 close
    payload msgpack of the struct

A torn tail (a crash between write and sync) ends the segment: :func:`read` stops at the first record that is
short or whose checksum is wrong, and says at which offset. Only ``close`` carries a UsageEvent that is shipped;
an ``open`` without ``close`` in a segment of a dead gateway is settled from its last checkpoint.

What the writer promises and the reader may rely on:

* The writer takes a segment's space in advance: behind the last record lie zeros, so a file's size says nothing.
  Read from the offset reached last; what is there but cannot be read yet is read next time.
* A boot holds ``flock`` (exclusive) on ``<boot id>.lock`` from before its first segment until it is dead.
* Segments of a boot are numbered upwards; only the one with the highest number is written to. A new one
  begins with the opens and a checkpoint of every request that is live, so an older one is needed for its closes alone.
* A close may be written twice (after a failed sync, in a later segment); its request id makes it one event. An open of
  a request that ended may come again behind its close in no case.
* A moment's checkpoint may be several records: of one request, the latest progress counts.
* The gateway never deletes. The reader may delete a segment when everything in it is committed and it is not the newest
  of a live boot, and a dead boot's lock file after its segments.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from moorage.wire.records import UsageEvent

MAGIC: Final = b"MOORAGEJ\x01\x00\x00\x00"
_HEAD: Final = struct.Struct("<IIB")
_MAX_PAYLOAD: Final = 1 << 20

OPEN: Final = 1
CHECKPOINT: Final = 2
CLOSE: Final = 3


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A request is about to be sent to an engine. ``event`` has zero tokens and outcome gateway_lost."""

    event: UsageEvent


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens delivered so far of one live stream."""

    request_id: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    source: str
    at_us: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """All live streams of one gateway at one moment."""

    streams: tuple[Progress, ...]


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """A request has ended and this is its usage."""

    event: UsageEvent


Record = Open | Checkpoint | Close

_encoder: Final = msgspec.msgpack.Encoder()
_decoders: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {
    OPEN: msgspec.msgpack.Decoder(Open),
    CHECKPOINT: msgspec.msgpack.Decoder(Checkpoint),
    CLOSE: msgspec.msgpack.Decoder(Close),
}


def encode(record: Record) -> bytes:
    """One record as bytes, ready to append."""
    match record:
        case Open():
            kind = OPEN
        case Checkpoint():
            kind = CHECKPOINT
        case Close():
            kind = CLOSE
    payload = _encoder.encode(record)
    checksum = zlib.crc32(payload, zlib.crc32(bytes((kind,))))
    return _HEAD.pack(len(payload), checksum, kind) + payload


def read(data: bytes | memoryview, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """Whole records from ``offset`` on, each with the offset behind it; stops silently at a torn tail.

    ``data`` starts with a record, not with the magic. Raises nothing for damaged bytes: what cannot be read was
    never acknowledged.
    """
    view = memoryview(data)
    while offset + _HEAD.size <= len(view):
        length, checksum, kind = _HEAD.unpack_from(view, offset)
        start, end = offset + _HEAD.size, offset + _HEAD.size + length
        if length > _MAX_PAYLOAD or end > len(view) or kind not in _decoders:
            return
        payload = view[start:end]
        if zlib.crc32(payload, zlib.crc32(bytes((kind,)))) != checksum:
            return
        try:
            record: Record = _decoders[kind].decode(payload)
        except msgspec.DecodeError:
            return
        yield record, end
        offset = end
