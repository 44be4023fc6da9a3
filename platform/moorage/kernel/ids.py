"""Prefixed, time-sortable identifiers: ``dep_`` and 26 characters of lower-case Crockford base32.

The 128 bits are a UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then version, variant and
74 random bits. Sorting ids as text sorts them by the time of their making.
"""

import os
import threading
import time
import uuid
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
#: Two characters at a time: 26 of them are 13 pairs of ten bits. The gateway makes an id for every request.
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]

_FORTY_BITS: Final = (1 << 40) - 1

#: What each prefix names.
PREFIXES: Final = {
    "org": "organization",
    "usr": "user",
    "mem": "membership",
    "inv": "invoice",
    "key": "API key",
    "art": "artifact",
    "crd": "registry credential",
    "dep": "deployment",
    "rev": "revision",
    "rep": "replica",
    "upd": "update of a deployment",
    "scl": "scale decision",
    "evt": "timeline event",
    "node": "node",
    "dev": "device",
    "req": "request, and so its usage event",
    "use": "replica usage",
    "pri": "price",
    "cost": "cost of a unit",
    "min": "minimum commitment",
    "st": "statement",
    "cn": "credit note",
    "txn": "ledger transaction",
    "out": "outbox message",
    "top": "top-up",
    "ref": "refund",
    "psh": "push of usage to a provider's meter",
    "aud": "audit entry",
    "itn": "invitation",
    "apr": "request for approval",
    "gra": "grant of credit",
}

_time_ns: Final = time.time_ns
_lock: Final = threading.Lock()
_of_process: Final[dict[str, "Series"]] = {}


def new(prefix: str) -> str:
    """A fresh id with ``prefix``, which must be one of :data:`PREFIXES`.

    Those of one process sort as they were made, also within a millisecond: what happened first stands first.
    """
    with _lock:
        series = _of_process.get(prefix)
        if series is None:
            series = _of_process[prefix] = Series(prefix)
        return series.new()


def _begin_anew() -> None:
    """A forked process must not go on counting where its parent does."""
    _of_process.clear()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
os.register_at_fork(after_in_child=_begin_anew)


class Series:
    """Ids of one prefix for whoever makes many: within a millisecond the last 30 random bits count upwards.

    That is RFC 9562, section 6.2, method 2. The ids of one series are in order even when the clock is set back.
    """

    def __init__(self, prefix: str) -> None:
        assert prefix in PREFIXES, prefix
        self._prefix: Final = prefix
        self._milliseconds = 0
        self._head = ""
        self._count = 0

    def new(self) -> str:
        """A fresh id."""
        milliseconds = _time_ns() // 1_000_000
        if milliseconds > self._milliseconds or self._count >= 2**30 - 1:
            self._milliseconds = max(milliseconds, self._milliseconds + 1)
            bits = _uuid7_bits(self._milliseconds)
            self._head = f"{self._prefix}_{encode(bits)[:-6]}"
            # Room for half a milliard of ids in this millisecond.
            self._count = bits & (2**29 - 1)
        count = self._count = self._count + 1
        return self._head + _PAIRS[count >> 20] + _PAIRS[count >> 10 & 1023] + _PAIRS[count & 1023]


def uuid7(now_ms: int | None = None) -> uuid.UUID:
    """A UUIDv7 of the present moment, or of ``now_ms`` Unix milliseconds."""
    return uuid.UUID(int=_uuid7_bits(time.time_ns() // 1_000_000 if now_ms is None else now_ms))


def _uuid7_bits(milliseconds: int) -> int:
    random = int.from_bytes(os.urandom(10), "big")
    time_and_version = (milliseconds & (2**48 - 1)) << 16 | 0x7000 | (random >> 68 & 0xFFF)
    return time_and_version << 64 | 0b10 << 62 | (random & (2**62 - 1))


def encode(value: int) -> str:
    """128 bits as 26 characters of Crockford base32, most significant first."""
    pairs = _PAIRS
    # In three parts, each of which fits a machine's word.
    first, second, third = value >> 80, value >> 40 & _FORTY_BITS, value & _FORTY_BITS
    return "".join(
        [
            pairs[first >> 40],
            pairs[first >> 30 & 1023],
            pairs[first >> 20 & 1023],
            pairs[first >> 10 & 1023],
            pairs[first & 1023],
            pairs[second >> 30],
            pairs[second >> 20 & 1023],
            pairs[second >> 10 & 1023],
            pairs[second & 1023],
            pairs[third >> 30],
            pairs[third >> 20 & 1023],
            pairs[third >> 10 & 1023],
            pairs[third & 1023],
        ]
    )


def decode(text: str) -> int:
    """The inverse of :func:`encode`. Raises ValueError for anything else."""
    if len(text) != 26 or any(character not in _VALUES for character in text):
        raise ValueError(f"not 26 characters of Crockford base32: {text!r}")
    value = 0
    for character in text:
        value = value * 32 + _VALUES[character]
    if value >= 2**128:
        raise ValueError(f"more than 128 bits: {text!r}")
    return value


def is_id(text: str, prefix: str) -> bool:
    """Whether ``text`` is a well-formed id with ``prefix``."""
    head, separator, tail = text.partition("_")
    if not separator or head != prefix:
        return False
    try:
        decode(tail)
    except ValueError:
        return False
    return True
