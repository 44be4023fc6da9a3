"""API key secrets: ``mk_live_`` + 33 base62 characters (196 random bits) + 6 of CRC-32.

The shape is GitHub's: an identifiable prefix, an underscore, a checksum, so that a scanner can tell a leaked key
without asking us. A fast hash is right for this much randomness; the secret itself is stored nowhere.
"""

import dataclasses
import hashlib
import secrets as random
import string
import zlib
from typing import Final

PREFIX: Final = "mk_live_"
#: Length of the part that is kept readable, to tell keys apart: the prefix and six characters.
SHOWN: Final = len(PREFIX) + 6
_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY: Final = 33
_CHECK: Final = 6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A new key: the text to show once, and what is stored of it."""

    text: str
    shown: str
    sha256: bytes


def new_key() -> Secret:
    """A new random key."""
    body = "".join(random.choice(_ALPHABET) for _ in range(_BODY))
    text = PREFIX + body + _checksum(body)
    return Secret(text=text, shown=text[:SHOWN], sha256=digest(text))


def digest(text: str) -> bytes:
    """What is stored and looked up: SHA-256 of the key's ASCII text."""
    return hashlib.sha256(text.encode("ascii")).digest()


def looks_like_key(text: str) -> bool:
    """Whether ``text`` has the shape and the checksum of a key; says nothing about its being valid."""
    body = text[len(PREFIX) :]
    return (
        text.startswith(PREFIX)
        and len(body) == _BODY + _CHECK
        and all(character in _ALPHABET for character in body)
        and body[_BODY:] == _checksum(body[:_BODY])
    )


def _checksum(body: str) -> str:
    value = zlib.crc32((PREFIX + body).encode("ascii"))
    characters = []
    for _ in range(_CHECK):
        value, digit = divmod(value, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return "".join(reversed(characters))
