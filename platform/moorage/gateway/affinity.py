"""Which replica has the beginning of a prompt in its cache. Asked only where a deployment has several.

A prompt is cut at 256, 512, 1024 … bytes, and each cut has a key that hangs together with those before it and with the
organization: text blocks, because making tokens costs more than it could save. Whoever served the longest known
beginning is asked again. Where nobody knows it, rendezvous hashing chooses: all workers agree, also after a restart,
and a replica that goes takes only its own share with it. Both hold within bounded load: a replica is passed over when
it has more than LOAD_FACTOR times the mean outstanding, plus what this request adds.
"""

import collections
import zlib
from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

#: How far above the mean a replica's outstanding tokens may be.
LOAD_FACTOR: Final = 1.25
#: Where prompts are cut, in bytes. What is shorter is not worth a detour: 256 bytes are some 64 tokens.
CUTS: Final = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
#: Beginnings of at most this length are spread by rendezvous; a longer one would tear apart what shares it.
SPREAD_AT: Final = 1024
#: The member of an engine's body with which the prompt begins. Within a string its quotes would be escaped.
_BEGINNINGS: Final = (b'"messages":', b'"prompt":', b'"input":')
_MASK: Final = (1 << 64) - 1


class Loaded(Protocol):
    """A replica, as far as affinity looks at it."""

    @property
    def number(self) -> int:
        """A number made of its id, the same in every worker."""

    @property
    def outstanding(self) -> int:
        """Tokens that are still expected of it."""


Replica = TypeVar("Replica", bound=Loaded)


def keys(organization_id: str, content: bytes) -> tuple[int, ...]:
    """The keys of the beginnings of an engine's body, shortest first; none for a short prompt."""
    if len(content) < CUTS[0]:
        return ()
    start = -1
    for beginning in _BEGINNINGS:
        start = content.find(beginning)
        if start >= 0:
            break
    start = max(start, 0)
    size = len(content) - start
    found: list[int] = []
    key = zlib.crc32(organization_id.encode())
    done = 0
    for cut in CUTS:
        if cut > size:
            break
        key = zlib.crc32(content[start + done : start + cut], key)
        done = cut
        found.append(key)
    return tuple(found)


def spread_key(beginnings: Sequence[int]) -> int:
    """The one key that rendezvous goes by."""
    return beginnings[min(len(beginnings), CUTS.index(SPREAD_AT) + 1) - 1]


def score(key: int, number: int) -> int:
    """How much a replica is the one for a key: the highest is asked first, and each is as likely as any other."""
    mixed = (key ^ number) * 0x9E3779B97F4A7C15 & _MASK
    mixed = (mixed ^ mixed >> 32) * 0xD6E8FEB86659FD93 & _MASK
    return mixed ^ mixed >> 32


def within_load(replicas: Sequence[Replica], tokens: int) -> list[Replica]:
    """Those that may get a request of ``tokens`` out of turn: never none, for somebody is below the mean."""
    bound = LOAD_FACTOR * sum(replica.outstanding for replica in replicas) / len(replicas) + tokens
    return [replica for replica in replicas if replica.outstanding <= bound]


class Memory:
    """Who served a beginning last: the replica's number by key, the oldest forgotten."""

    def __init__(self, *, most: int = 4096) -> None:
        self._most: Final = most
        self._served: collections.OrderedDict[int, int] = collections.OrderedDict()

    def pick(self, beginnings: Sequence[int], replicas: Sequence[Replica], tokens: int) -> Replica:
        """The replica for a prompt with these ``beginnings`` (not none), and remember it."""
        willing = within_load(replicas, tokens)
        chosen = self._longest_known(beginnings, willing)
        if chosen is None:
            key = spread_key(beginnings)
            chosen = max(willing, key=lambda replica: score(key, replica.number))
        served = self._served
        for key in beginnings:
            served[key] = chosen.number
            served.move_to_end(key)
        while len(served) > self._most:
            served.popitem(last=False)
        return chosen

    def _longest_known(self, beginnings: Sequence[int], willing: Sequence[Replica]) -> Replica | None:
        for key in reversed(beginnings):
            number = self._served.get(key)
            if number is not None:
                for replica in willing:
                    if replica.number == number:
                        return replica
        return None
