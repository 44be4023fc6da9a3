"""The journal: the gateway's append-only record of requests, read by the shipper.

A segment is a file ``<boot id>-<number>.journal`` that begins with :data:`MAGIC`, whose ninth byte is the version of
the format. Each record after it is

    length  u32 little-endian, of the payload
    crc32   u32 little-endian, of kind and payload
    kind    u8: 1 open, 2 checkpoint, 3 close
    payload msgpack: of an open and a close the UsageEvent, of a checkpoint ``[streams]``

Structs are arrays of their members in order: members are only ever added, at the end and with a default, so that a
reader of the last version skips what it does not know and one of the next fills in what is not there. (Version 1, which
is still read, wrote maps with names.) A request id is the first member of an event.

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

VERSION: Final = 2
_SIGNATURE: Final = b"MOORAGEJ"
MAGIC: Final = _SIGNATURE + bytes((VERSION, 0, 0, 0))
HEAD: Final = struct.Struct("<IIB")
MAX_PAYLOAD: Final = 1 << 20

OPEN: Final = 1
CHECKPOINT: Final = 2
CLOSE: Final = 3
#: The checksum of each kind's byte, with which the checksum of its payload begins.
_SEEDS: Final = {kind: zlib.crc32(bytes((kind,))) for kind in (OPEN, CHECKPOINT, CLOSE)}
_OPEN_SEED: Final = _SEEDS[OPEN]
_CLOSE_SEED: Final = _SEEDS[CLOSE]


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A request is about to be sent to an engine. ``event`` has zero tokens and outcome gateway_lost."""

    event: UsageEvent


class Progress(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Tokens delivered so far of one live stream."""

    request_id: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    source: str
    at_us: int


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """All live streams of one gateway at one moment."""

    streams: tuple[Progress, ...]


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """A request has ended and this is its usage."""

    event: UsageEvent


Record = Open | Checkpoint | Close

_ARRAY_16: Final = 0xDC
_TEXT_30: Final = 0xA0 | 30
#: Where the first member begins, behind the head of the array, and where it ends.
_ID_AT: Final = 3
_ID_END: Final = _ID_AT + 31

_encode: Final = msgspec.msgpack.Encoder().encode
_pack_head: Final = HEAD.pack
_crc32: Final = zlib.crc32
_event: Final = msgspec.msgpack.Decoder(UsageEvent)
_checkpoint: Final = msgspec.msgpack.Decoder(Checkpoint)


def encode_open(event: UsageEvent) -> bytes:
    """``Open(event=event)`` as bytes: what the gateway writes once a request, so without the wrapper."""
    payload = _encode(event)
    return _pack_head(len(payload), _crc32(payload, _OPEN_SEED), OPEN) + payload


def encode_close(event: UsageEvent) -> bytes:
    """``Close(event=event)`` as bytes."""
    payload = _encode(event)
    return _pack_head(len(payload), _crc32(payload, _CLOSE_SEED), CLOSE) + payload


def encode(record: Record) -> bytes:
    """One record as bytes, ready to append."""
    match record:
        case Open(event=event):
            return encode_open(event)
        case Close(event=event):
            return encode_close(event)
        case Checkpoint():
            payload = _encode(record)
            return HEAD.pack(len(payload), zlib.crc32(payload, _SEEDS[CHECKPOINT]), CHECKPOINT) + payload


def version_of(head: bytes) -> int | None:
    """The version that a file whose first bytes are ``head`` is written in; None when it is no journal."""
    is_whole = (
        len(head) >= len(MAGIC) and head.startswith(_SIGNATURE) and not any(head[len(_SIGNATURE) + 1 : len(MAGIC)])
    )
    return head[len(_SIGNATURE)] or None if is_whole else None


def scan(data: bytes, offset: int = 0, *, base: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """Kind, payload and the offset behind it of the whole records from ``offset`` on, their checksums right but nothing
    decoded; stops silently at a torn tail. ``data`` itself begins at offset ``base`` of the offsets that are given."""
    unpack, crc32, seeds, head, size = HEAD.unpack_from, zlib.crc32, _SEEDS, HEAD.size, len(data)
    while (start := offset + head) <= size:
        length, checksum, kind = unpack(data, offset)
        end = start + length
        if kind not in seeds or end > size or length > MAX_PAYLOAD:
            return
        payload = data[start:end]
        if crc32(payload, seeds[kind]) != checksum:
            return
        yield kind, payload, base + end
        offset = end


def decode(kind: int, payload: bytes) -> Record:
    """The record of a scanned payload. Raises msgspec.DecodeError when it is none."""
    if kind == CHECKPOINT:
        return decode_checkpoint(payload)
    event = _event.decode(payload)
    return Open(event=event) if kind == OPEN else Close(event=event)


def key_of(payload: bytes) -> bytes:
    """The request that an open's or a close's payload is about, as :func:`key` writes it, without decoding the rest.

    Raises msgspec.DecodeError when there is no event in it.
    """
    # An array of more than 15 members, and first in it a text of 30 bytes: every id that kernel.ids makes.
    if len(payload) > _ID_END and payload[0] == _ARRAY_16 and payload[_ID_AT] == _TEXT_30:
        return payload[_ID_AT:_ID_END]
    return key(_event.decode(payload).request_id)


def key(request_id: str) -> bytes:
    """The bytes of a request id in a payload."""
    return _encode(request_id)


def decode_checkpoint(payload: bytes) -> Checkpoint:
    """The checkpoint of a scanned payload. Raises msgspec.DecodeError when it is none."""
    return _checkpoint.decode(payload)


def read(data: bytes, offset: int = 0, *, version: int = VERSION) -> Iterator[tuple[Record, int]]:
    """Whole records from ``offset`` on, each with the offset behind it; stops silently at a torn tail.

    ``data`` starts with a record, not with the magic. Raises nothing for damaged bytes: what cannot be read was
    never acknowledged.
    """
    for kind, payload, end in scan(data, offset):
        try:
            record = decode(kind, payload if version == VERSION else upgraded(kind, payload))
        except msgspec.DecodeError:
            return
        yield record, end


#: The members of version 1, in their order: the first of version 2, because members never move.
_EVENT_1: Final = UsageEvent.__struct_fields__[:20]
_PROGRESS_1: Final = Progress.__struct_fields__[:6]


def upgraded(kind: int, payload: bytes) -> bytes:
    """A payload of version 1 as version 2 writes it. Raises msgspec.DecodeError when it is none."""
    try:
        record: dict[str, Any] = msgspec.msgpack.decode(payload)
        if kind == CHECKPOINT:
            return _encode([[[stream[name] for name in _PROGRESS_1] for stream in record["streams"]]])
        return _encode([record["event"][name] for name in _EVENT_1])
    except (KeyError, TypeError) as error:
        raise msgspec.DecodeError("not a record of version 1") from error
