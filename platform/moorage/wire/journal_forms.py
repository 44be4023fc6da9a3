"""The two records that every request leaves in the journal, as whoever writes many of them makes them.

What comes out is byte for byte what :mod:`moorage.wire.journal` makes of the whole event. The opens of requests of one
kind differ in two members: what is the same in all of them is encoded once.
"""

import struct
import zlib
from typing import Final

import msgspec

from moorage.wire import journal
from moorage.wire.records import UsageEvent

#: An id as kernel.ids makes them, and a moment (Unix microseconds) that msgpack writes in eight bytes.
_SOME_ID: Final = "req_" + 26 * "0"
_SOME_US: Final = 0x0123456789ABCDEF
_FIRST_LONG_US: Final = 1 << 32
_ID_LENGTH: Final = len(_SOME_ID)
_MOMENT: Final = struct.Struct(">Q")
_pack_moment: Final = _MOMENT.pack
_pack_head: Final = journal.HEAD.pack
_crc32: Final = zlib.crc32
_encode: Final = msgspec.msgpack.Encoder().encode
_SEED: Final = zlib.crc32(bytes((journal.OPEN,)))
_CLOSE_SEED: Final = zlib.crc32(bytes((journal.CLOSE,)))


class OpenForm:
    """Made of an event whose ``request_id`` and ``started_at_us`` say nothing."""

    def __init__(self, event: UsageEvent) -> None:
        self._event: Final = event
        some = msgspec.structs.replace(event, request_id=_SOME_ID, started_at_us=_SOME_US)
        payload = journal.encode_open(some)[journal.HEAD.size :]
        self._before, _, rest = payload.partition(_SOME_ID.encode())
        self._between, moment, self._behind = rest.partition(_MOMENT.pack(_SOME_US))
        #: Where something else could be taken for the moment, nothing is put together.
        self._is_cut: Final = bool(moment) and rest.count(moment) == 1

    def record(self, request_id: str, started_at_us: int) -> bytes:
        """The open of one request, ready to append."""
        if (
            len(request_id) != _ID_LENGTH
            or not request_id.isascii()
            or started_at_us < _FIRST_LONG_US
            or not self._is_cut
        ):
            return journal.encode_open(
                msgspec.structs.replace(self._event, request_id=request_id, started_at_us=started_at_us)
            )
        payload = b"%b%b%b%b%b" % (
            self._before,
            request_id.encode(),
            self._between,
            _pack_moment(started_at_us),
            self._behind,
        )
        return _pack_head(len(payload), _crc32(payload, _SEED), journal.OPEN) + payload


def close_record(event: UsageEvent) -> bytes:
    """The close of a request, ready to append."""
    payload = _encode(event)
    return _pack_head(len(payload), _crc32(payload, _CLOSE_SEED), journal.CLOSE) + payload
