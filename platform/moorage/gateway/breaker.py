"""Whether a replica is worth asking: closed (ask it), open (do not), half open (ask once and see). Pure: time comes in.

It opens after FAILURES_IN_A_ROW, or when FAILURES_OF_LAST of the last ANSWERS failed: a refused connection, an answer
that broke or broke the rules, silence. It stays open for a second, each time twice as long, at most LONGEST. Then one
request goes through: an answer that begins closes it, though the next failure opens it again; only an answer that is
complete makes it forget.
"""

from typing import Final, Literal

FAILURES_IN_A_ROW: Final = 5
#: The failure rate: at least half of the last twenty.
ANSWERS: Final = 20
FAILURES_OF_LAST: Final = 10
SHORTEST: Final = 1.0
LONGEST: Final = 30.0

_MASK: Final = (1 << ANSWERS) - 1

State = Literal["closed", "half_open", "open"]


class Breaker:
    """Of one replica. ``now`` is any clock that only goes forward, in seconds, always the same one."""

    __slots__ = ("_failures", "_is_trying", "_pause", "_recent", "_retry_at", "is_calm", "is_closed", "opened")

    def __init__(self) -> None:
        #: Read in the hot path instead of ``allows``.
        self.is_closed = True
        #: Nothing has failed lately: a good answer is no news.
        self.is_calm = True
        #: How often it opened.
        self.opened = 0
        self._failures = 0
        #: One bit an answer, the newest lowest; 1: failed.
        self._recent = 0
        self._pause = SHORTEST
        self._retry_at = 0.0
        self._is_trying = False

    @property
    def state(self) -> State:
        """What it is, for people and metrics."""
        if self.is_closed:
            return "closed"
        return "half_open" if self._is_trying else "open"

    def allows(self, now: float) -> bool:
        """Whether a request may go through. One that does must say so by ``began``."""
        return self.is_closed or (now >= self._retry_at and not self._is_trying)

    def seconds_left(self, now: float) -> float:
        """How long until the next trial; 0 when it may be now or is going on."""
        return 0.0 if self.is_closed or self._is_trying else max(0.0, self._retry_at - now)

    def began(self) -> None:
        """A request goes through. Of use only while it is not closed."""
        if not self.is_closed:
            self._is_trying = True

    def answering(self) -> None:
        """An answer began: enough to close it after a trial, not to forget."""
        if self._is_trying:
            self._is_trying, self.is_closed = False, True
            self._failures = FAILURES_IN_A_ROW - 1

    def succeeded(self) -> None:
        """An answer was complete."""
        self.answering()
        if self.is_closed and (self._recent or self._failures):
            self._failures, self._pause = 0, SHORTEST
            self._recent = self._recent << 1 & _MASK
        self.is_calm = self.is_closed and not (self._recent or self._failures)

    def failed(self, now: float) -> None:
        """A connection was refused, an answer broke, or nothing came. While it is open: old news."""
        self.is_calm = False
        if self._is_trying:
            self._open(now)
        elif self.is_closed:
            self._failures += 1
            self._recent = (self._recent << 1 | 1) & _MASK
            if self._failures >= FAILURES_IN_A_ROW or self._recent.bit_count() >= FAILURES_OF_LAST:
                self._open(now)

    def abandoned(self) -> None:
        """A request ended without a verdict: the client left. Another may be the trial."""
        self._is_trying = False

    def _open(self, now: float) -> None:
        self.is_closed = self._is_trying = False
        self._retry_at = now + self._pause
        self._pause = min(self._pause * 2, LONGEST)
        self._failures = self._recent = 0
        self.opened += 1
