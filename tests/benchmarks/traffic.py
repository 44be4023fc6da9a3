"""Prepared requests: what an OpenAI client sends, byte for byte, with prompts of many lengths and many keys.

The load generator sends them in turn and knows nothing of HTTP headers, so each system under test can be asked in the
way that it wants.
"""

import dataclasses
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

#: Frames of a stream besides its tokens: finish reason, usage, [DONE].
OTHER_FRAMES: Final = 3
_WORDS: Final = tuple(
    (  # noqa: SIM905 - a list of so many would be longer than the rest
        "anchor berth buoy cable capstan channel chart compass crane crew current deck dock draft "
        "ebb fathom ferry flood gale gangway harbour hawser helm hull jetty keel knot ledger lighthouse line "
        "lock log mast mooring pilot pier port quay rope rudder sail ship signal slip sounding stern "
        "swell tide tow tug vessel voyage watch wharf wind"
    ).split()
)
#: Words of the question; most prompts are short and some carry a page.
_LENGTHS: Final = (6, 9, 12, 16, 22, 30, 45, 70, 110, 180)
#: What OpenAI's Python client sends with every request, before and behind the key, in its own order.
_BEFORE_KEY: Final = ("Accept-Encoding: gzip, deflate", "Connection: keep-alive")
_BEHIND_KEY: Final = (
    "accept: application/json",
    "content-type: application/json",
    "user-agent: OpenAI/Python 3.54.0",
    "x-stainless-lang: python",
    "x-stainless-package-version: 3.54.0",
    "x-stainless-os: Linux",
    "x-stainless-arch: x64",
    "x-stainless-runtime: CPython",
    "x-stainless-runtime-version: 3.11.7",
    "x-stainless-async: false",
    "x-stainless-retry-count: 0",
    "x-stainless-read-timeout: 600",
)
#: Requests in a row that have the same key, which the load generator gives to one connection.
GROUP: Final = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """What is asked for. ``tokens`` 0: an answer in one piece; ``interval_ms`` is the engine's pace."""

    tokens: int = 0
    interval_ms: int = 0

    @property
    def frames(self) -> int:
        """``data:`` lines of one answer."""
        return self.tokens + OTHER_FRAMES if self.tokens else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caller:
    """How one system is asked: its ``host:port``, the secrets that are used in turn, more headers, the model's name."""

    host: str
    secrets: Sequence[str] = ("unused",)
    headers: tuple[str, ...] = ()
    model: str = "bench/pilot"


def write(path: Path, *, shape: Shape, caller: Caller, count: int = 512, seed: int = 20261122) -> Path:
    """Write ``count`` requests to ``path`` and return it. The same arguments give the same bytes."""
    chance = random.Random(seed)
    with path.open("wb") as file:
        for number in range(count):
            secret = caller.secrets[number // GROUP % len(caller.secrets)]
            whole = request(body(shape, model=caller.model, chance=chance), caller=caller, secret=secret)
            file.write(struct.pack("<I", len(whole)) + whole)
    return path


def body(shape: Shape, *, model: str, chance: random.Random) -> bytes:
    """One chat completion's JSON, compact as the client writes it."""
    question = " ".join(chance.choices(_WORDS, k=chance.choice(_LENGTHS)))
    members: dict[str, object] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You answer as the harbour master would: short, exact, friendly."},
            {"role": "user", "content": question},
        ],
        "max_tokens": shape.tokens or 64,
        "temperature": 0.7,
    }
    if shape.interval_ms:
        members["seed"] = shape.interval_ms
    if shape.tokens:
        members |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(members)


def request(content: bytes, *, caller: Caller, secret: str) -> bytes:
    """Head and body."""
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: {caller.host}",
        *_BEFORE_KEY,
        f"authorization: Bearer {secret}",
        *_BEHIND_KEY,
        *caller.headers,
        f"Content-Length: {len(content)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
