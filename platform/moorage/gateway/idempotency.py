"""``Idempotency-Key``: a call that is repeated is one call, with one request id, billed once.

A first use *claims* the key, in this worker's memory and then in PostgreSQL (``claims``), before anything is billable.
What came out is decided when the call is settled:

* something was billed, or it completed: the key is used up. For a while its answer is kept in memory, bounded, and a
  repetition gets the same bytes under the same request id, without an engine and without a second usage event. Later,
  in another worker or after a restart it is told that the call was answered, because answers are stored nowhere;
* nothing was billed (a refusal, an engine that failed before its first token): the key is free again.

While the first call runs, a repetition is refused with 409 and Retry-After, which the official clients obey by
themselves. Keys and bodies are known here by keyed hashes alone: who reads the table cannot try out guesses.
"""

import collections
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Final, Protocol

from moorage.gateway.errors import AnsweredBefore, BadRequest, KeyReused, RetriesUnavailable, StillRunning
from moorage.kernel.errors import PlatformError

_VALUE: Final = re.compile(rb"[!-~](?:[ -~]{0,253}[!-~])?")
#: What one kept piece of a stream costs besides its bytes.
_PIECE_BYTES: Final = 64


class Claim:
    """One call under one key, from its claim to the end of its answer's time in memory."""

    __slots__ = (
        *("digest", "expires_at", "id", "is_abandoned", "is_claimed", "is_stream", "is_whole", "pieces", "request_id"),
        *("size", "status"),
    )

    def __init__(self, claim_id: str, digest: str) -> None:
        self.id = claim_id
        self.digest = digest
        self.request_id = ""
        #: None: nothing is being kept, or not any more.
        self.pieces: list[bytes] | None = []
        self.size = 0
        self.status = 0
        self.is_stream = False
        #: The answer was sent to its end.
        self.is_whole = False
        self.is_claimed = False
        self.is_abandoned = False
        #: The loop's time at which a kept answer is dropped; 0 while the call runs.
        self.expires_at = 0.0


#: Called once: None when the key is this call's, else why not. A refusal that has a ``request_id`` is about that call.
Then = Callable[[PlatformError | None], None]


class Register(Protocol):
    """Where claims are kept for other workers and for the time after a restart."""

    def claim(self, claim: Claim, then: Then) -> None:
        """Write the claim; ``then`` comes later, with KeyReused, StillRunning, AnsweredBefore or RetriesUnavailable."""

    def free(self, claim: Claim) -> None:
        """Delete the claim, however long that takes."""


class Idempotency:
    """The keys in use in this worker and the answers it keeps. Times are the loop's, in seconds."""

    def __init__(
        self,
        *,
        secret: bytes,
        register: Register,
        most_bytes: int = 64 * 1024 * 1024,
        most_bytes_each: int = 1024 * 1024,
        keep_seconds: float = 600.0,
    ) -> None:
        """``secret`` is the same in all workers and after a restart; without one the header is refused."""
        self._secret = secret
        self._register = register
        self._most_bytes = most_bytes
        self._most_bytes_each = most_bytes_each
        self._keep_seconds = keep_seconds
        self._claims: dict[str, Claim] = {}
        #: Those that are over, oldest first.
        self._kept: collections.OrderedDict[str, Claim] = collections.OrderedDict()
        self.kept_bytes = 0
        self.replays = 0

    def __len__(self) -> int:
        return len(self._claims)

    def read(self, value: bytes, *, key_id: str, path: str, content: bytes) -> Claim:
        """The claim that a call would make, not yet made. Raises BadRequest or RetriesUnavailable."""
        if _VALUE.fullmatch(value) is None:
            raise BadRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.")
        if not self._secret:
            raise RetriesUnavailable("Idempotency-Key is not offered here; send the request without it.")
        return Claim(self._keyed(b"key", key_id.encode(), value), self._keyed(b"body", path.encode(), content))

    def find(self, claim: Claim) -> Claim | None:
        """The call with the same key whose answer is kept here; None: this worker knows nothing of it.

        Raises KeyReused or StillRunning.
        """
        known = self._claims.get(claim.id)
        if known is None:
            return None
        if known.digest != claim.digest:
            raise KeyReused
        if not known.expires_at:
            raise StillRunning(request_id=known.request_id)
        self.replays += 1
        return known

    def begin(self, claim: Claim, *, request_id: str, then: Then) -> None:
        """Make ``claim`` for the call ``request_id``; ``then`` says when it is made, or why it is not."""
        claim.request_id = request_id
        self._claims[claim.id] = claim

        def told(refusal: PlatformError | None) -> None:
            if refusal is not None:
                self._forget(claim)
            elif claim.is_abandoned:
                self._free(claim)
                return
            else:
                claim.is_claimed = True
            if not claim.is_abandoned:
                then(refusal)

        self._register.claim(claim, told)

    def abandon(self, claim: Claim) -> None:
        """The client left before the claim was made: ``then`` does not come any more."""
        claim.is_abandoned = True

    # -- what the call sends

    def note(self, claim: Claim, piece: bytes) -> None:
        """Keep a piece of the answer that goes out, unless that would be too much."""
        if claim.pieces is None:
            return
        size = len(piece) + _PIECE_BYTES
        if claim.size + size > self._most_bytes_each or not self._make_room(size):
            self._drop(claim)
            return
        claim.pieces.append(piece)
        claim.size += size
        self.kept_bytes += size

    def end(self, claim: Claim, *, is_used: bool, now: float) -> None:
        """The call is settled and its last bytes are out, or its client is gone. ``is_used``: the key is used up."""
        if not is_used:
            self._free(claim)
        elif claim.pieces is None or not claim.status:
            # PostgreSQL remembers that it was answered.
            self._forget(claim)
        else:
            claim.expires_at = now + self._keep_seconds
            self._kept[claim.id] = claim

    def tick(self, now: float) -> None:
        """Drop answers that were kept for long enough."""
        while self._kept and (oldest := next(iter(self._kept.values()))).expires_at <= now:
            self._forget(oldest)

    def _make_room(self, size: int) -> bool:
        while self.kept_bytes + size > self._most_bytes and self._kept:
            self._forget(next(iter(self._kept.values())))
        return self.kept_bytes + size <= self._most_bytes

    def _free(self, claim: Claim) -> None:
        self._forget(claim)
        self._register.free(claim)

    def _forget(self, claim: Claim) -> None:
        self._drop(claim)
        self._kept.pop(claim.id, None)
        if self._claims.get(claim.id) is claim:
            del self._claims[claim.id]

    def _drop(self, claim: Claim) -> None:
        claim.pieces = None
        self.kept_bytes -= claim.size
        claim.size = 0

    def _keyed(self, purpose: bytes, name: bytes, content: bytes) -> str:
        # The name is of our own alphabet: no NUL is in it, so nothing can be moved between the parts.
        return hmac.digest(self._secret, b"\0".join((purpose, name, content)), hashlib.sha256).hex()


def verdict(claim: Claim, *, digest: str, request_id: str, is_answered: bool) -> PlatformError:
    """Why ``claim`` cannot be made: the key is held by the call ``request_id`` with the body ``digest``."""
    if digest != claim.digest:
        return KeyReused()
    return AnsweredBefore(request_id=request_id) if is_answered else StillRunning(request_id=request_id)
