"""The ``x-ratelimit-*`` headers that OpenAI's clients know: limit, what remains, and when the window begins anew."""

import math
from collections.abc import Sequence
from typing import Final

from moorage.gateway.leases import Lease

#: Made anew at most so often: what remains is what this worker knows, not a promise.
_FRESH_SECONDS: Final = 0.05
_FIGURES: Final = (("limit", "%d"), ("remaining", "%d"), ("reset", "%ds"))
_LINES: Final = {
    measure: "".join(f"x-ratelimit-{name}-{measure}: {figure}\r\n" for name, figure in _FIGURES).encode()
    for measure in ("requests", "tokens")
}


class RateHeaders:
    """The lines for the requests that share some leases. Of several the one that ends first has its say: the minute's;
    of those that end together the one with the least left."""

    __slots__ = ("_requests", "_stale_at", "_text", "_tokens")

    def __init__(self, *, requests: Sequence[Lease], tokens: Sequence[Lease]) -> None:
        self._requests = tuple(sorted(requests, key=_end))
        self._tokens = tuple(sorted(tokens, key=_end))
        self._text = b""
        self._stale_at = 0.0

    def text(self, now: float) -> bytes:
        """Whole header lines, or nothing where neither requests nor tokens are limited; ``now`` is Unix seconds."""
        if now >= self._stale_at:
            self._stale_at = now + _FRESH_SECONDS
            self._text = self.fresh(now)
        return self._text

    def fresh(self, now: float) -> bytes:
        """The same as things stand."""
        text = b""
        if self._requests:
            text = _LINES["requests"] % _figures(self._requests, now)
        if self._tokens:
            text += _LINES["tokens"] % _figures(self._tokens, now)
        return text


def _end(lease: Lease) -> int:
    return lease.ends


def _figures(leases: tuple[Lease, ...], now: float) -> tuple[int, int, int]:
    lease = leases[0]
    remaining = lease.room + lease.free
    if len(leases) > 1:
        for other in leases:
            if other.ends == lease.ends and other.room + other.free < remaining:
                lease, remaining = other, other.room + other.free
    seconds = math.ceil(lease.ends - now)
    return lease.capacity, min(max(remaining, 0), lease.capacity), max(seconds, 1)
