"""A lease: the part of one allowance that this worker may use without asking anybody. Pure arithmetic, no I/O.

    amount  what the database says the worker holds, less what was told to it since
    free    of it, what the next request may take
    spent   of it, what is used for good and not told yet
    the rest is held by requests that are being answered

Only the database adds to an amount, so whatever the workers do, they cannot use more than there is.
"""

from typing import Final

from moorage.gateway.lease_row import Row
from moorage.kernel.window import Window
from moorage.wire.limits import Measure

#: A lease that nobody used for so long goes back.
IDLE_SECONDS: Final = 5.0
#: For so many requests at once a lease is kept, where there is enough for it.
_AT_HAND: Final = 16
#: A lease that runs low is spoken of so often at most.
_LOW_SECONDS: Final = 0.25
#: How often one worker asks the others for the same allowance.
_CALL_SECONDS: Final = 0.05


class Lease:
    """One allowance of one window at this worker. A request takes from ``free`` and gives back what it did not use."""

    __slots__ = (
        "amount",
        "answered_at",
        "called_at",
        "capacity",
        "ends",
        "exhausted_until",
        "floor",
        "free",
        "is_due",
        "is_forgotten",
        "is_urgent",
        "is_wanted",
        "kept",
        "least",
        "measure",
        "organization_id",
        "others",
        "room",
        "spent",
        "starts",
        "subject",
        "sum",
        "told_at",
        "used_at",
        "window",
    )

    def __init__(
        self,
        *,
        subject: str,
        organization_id: str,
        measure: Measure,
        window: Window,
        starts: int,
        ends: int,
        capacity: int,
        kept: int = 0,
    ) -> None:
        self.subject = subject
        self.organization_id = organization_id
        self.measure = measure
        self.window = window
        self.starts = starts
        self.ends = ends
        self.capacity = capacity
        self.amount = 0
        self.free = 0
        self.spent = 0
        #: What nobody held, and what other workers held, when the database last answered.
        self.room = capacity
        self.others = 0
        #: What is kept at hand: it grows with what is used, and is forgotten with the lease.
        self.kept = kept
        #: As much as a few requests may use at most.
        self.floor = 0
        self.used_at = 0.0
        self.told_at = 0.0
        self.answered_at = 0.0
        self.is_due = False
        self.is_urgent = False
        #: It is no longer known by its key: whoever needs it has to find the one that is.
        self.is_forgotten = False
        #: Another worker is short of it.
        self.is_wanted = False
        self.called_at = 0.0
        #: Until then nothing more is to be had, and nobody needs to wait to hear it.
        self.exhausted_until = 0.0
        #: What the smallest of those who wait for it needs, and all of them together.
        self.least = 0
        self.sum = 0

    @property
    def key(self) -> tuple[str, Measure, Window, int]:
        """What it is found by."""
        return (self.subject, self.measure, self.window, self.starts)

    @property
    def unreported(self) -> int:
        """What is used for good and not told: a request counts when it is let in, tokens and money when they are."""
        return self.amount - self.free if self.measure is Measure.REQUESTS else self.spent

    @property
    def held(self) -> int:
        """What requests that are being answered may still use, and may give back."""
        return 0 if self.measure is Measure.REQUESTS else self.amount - self.free - self.spent

    @property
    def remaining(self) -> int:
        """What is left of the allowance, as far as this worker can know."""
        return max(0, self.room + self.free)

    @property
    def is_balance(self) -> bool:
        """Whether it is of a wallet, not of a limit."""
        return self.measure is Measure.MONEY and self.window is Window.ALWAYS

    def can_never_be(self, amount: int) -> bool:
        """Whether ``amount`` is more than the whole limit. Nobody tells of a top-up: a balance has to be asked for."""
        return amount > self.capacity and not self.is_balance

    @property
    def is_exhausted(self) -> bool:
        """Nobody can give more of it before its window ends: not the database, no other worker, no request of ours."""
        return self.others <= 0 and self.held <= 0

    def wants(self, amount: int) -> None:
        """Somebody waits for ``amount`` of it."""
        self.least = min(self.least or amount, amount)
        self.sum += amount

    def tell(self, n: int, now: float) -> Row:
        """What to say of it to the database, which is noted here as said. Forgets who waits."""
        self.told_at = now
        is_ended = now >= self.ends
        if is_ended:
            self.least = self.sum = 0  # whoever waits, waits for the next window
        spent = self.unreported
        given = self._given(now) if not self.least else 0
        if self.is_wanted and self.free < self.least:
            given = max(0, self.free)  # of no use here, and together with another's leftover perhaps of use there
        self.is_wanted = False
        is_short = self.least > self.free - given
        if is_short:
            self.used_at = now
            self.floor = min(max(self.floor, _AT_HAND * self.least), self.capacity)
            self.kept = min(max(2 * self.kept, self.floor), self.capacity)
        else:
            demand = max(2 * spent + self.held // 2, self.floor)
            self.kept = demand if demand > self.kept else self.kept - self.kept // 8
        if self.measure is Measure.REQUESTS:
            self.amount = self.free
        else:
            self.amount -= spent
            self.spent = 0
        self.amount -= given
        self.free -= given
        enough = target = 0
        if is_short:
            enough = self.amount + self.least - self.free
            target = self.amount + self.sum - self.free + self.kept
        elif not is_ended and not given and 2 * self.free < self.kept:
            target = self.amount + self.kept - self.free
        call = is_short and now >= self.called_at + _CALL_SECONDS
        if call:
            self.called_at = now
        self.least = self.sum = 0
        return Row(
            n=n,
            subject=self.subject,
            measure=self.measure,
            window=self.window,
            starts=self.starts,
            ends=self.ends,
            spent=spent,
            given=given,
            enough=enough,
            target=target,
            call=call,
        )

    def _given(self, now: float) -> int:
        if self.free <= 0:
            return 0
        if self.is_wanted or now >= self.ends or now >= self.used_at + IDLE_SECONDS:
            return self.free
        # What requests that took the worst case gave back, beyond what the next ones are likely to take.
        return self.free - self.kept if self.free > 2 * self.kept + self.held else 0

    def learn(self, *, amount: int, room: int, capacity: int, others: int, now: float) -> None:
        """What the database answered."""
        self.answered_at = now
        self.free += amount - self.amount
        self.amount = amount
        self.room = room
        self.capacity = capacity
        self.others = others

    def change_capacity(self, capacity: int) -> None:
        """The limit is another one from now on. Where it is lower, nothing is kept at hand."""
        self.room += capacity - self.capacity
        self.is_wanted = self.is_wanted or capacity < self.capacity
        self.capacity = capacity
        self.exhausted_until = 0.0

    def is_worth_telling(self, now: float, patience: float) -> bool:
        """Whether it is running low, or was not spoken of for ``patience`` seconds."""
        is_low = 2 * self.free < self.kept and now >= self.told_at + _LOW_SECONDS
        return is_low or now >= self.told_at + patience

    def is_idle(self, now: float) -> bool:
        """Whether it is worth giving back: its window has ended, or nobody has used it for long."""
        return now >= self.ends or now >= self.used_at + IDLE_SECONDS

    @property
    def is_empty(self) -> bool:
        """Whether nothing is lost when it is forgotten."""
        return self.amount == 0 and self.unreported == 0 and not self.least
