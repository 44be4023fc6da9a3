"""Prefixed, time-sortable identifiers: ``dep_`` and 26 characters of lower-case Crockford base32.

The 128 bits are a UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then version, variant and
74 random bits. Sorting ids as text sorts them by the time of their making.
"""

import os
import time
import uuid
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}

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
    "evt": "timeline event",
    "node": "node",
    "dev": "device",
    "req": "request, and so its usage event",
    "use": "replica usage",
    "pri": "price",
    "st": "statement",
    "txn": "ledger transaction",
    "out": "outbox message",
    "aud": "audit entry",
    "itn": "invitation",
}


def new(prefix: str) -> str:
    """A fresh id with ``prefix``, which must be one of :data:`PREFIXES`."""
    assert prefix in PREFIXES, prefix
    return f"{prefix}_{encode(uuid7().int)}"


def uuid7(now_ms: int | None = None) -> uuid.UUID:
    """A UUIDv7 of the present moment, or of ``now_ms`` Unix milliseconds."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (2**48 - 1)) << 80
    value |= 0x7 << 76
    value |= (random >> 68 & 0xFFF) << 64
    value |= 0b10 << 62
    value |= random & (2**62 - 1)
    return uuid.UUID(int=value)


def encode(value: int) -> str:
    """128 bits as 26 characters of Crockford base32, most significant first."""
    characters = []
    for _ in range(26):
        value, digit = divmod(value, 32)
        characters.append(_ALPHABET[digit])
    return "".join(reversed(characters))


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
