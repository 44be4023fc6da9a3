"""Who may use how much: every limit of a key, its organization and its deployment, asked in memory for each request.

A request takes its worst case from this worker's leases before anything is sent, and gives back what it did not use
when it is settled. Where a lease is too small the request waits a moment while more is fetched (``lease_keeper``); what
cannot be had is refused. A limit holds whatever a token costs.
"""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from moorage.gateway.gates import FREE_HOLD, Gate, Hold
from moorage.gateway.lease_book import LeaseBook, Report
from moorage.gateway.leases import Lease
from moorage.gateway.price_list import PriceList
from moorage.gateway.refusals import LimitsUnavailable, refusal
from moorage.kernel.errors import PlatformError
from moorage.wire.limits import NO_LIMITS, Measure
from moorage.wire.records import KeyGrant, OrganizationGrant, Route

#: How long a request waits for what other workers may give back.
PATIENCE_SECONDS: Final = 1.0
#: After a refusal, others that need the same are refused at once for so long.
_EXHAUSTED_SECONDS: Final = 0.25

__all__ = ["FREE_HOLD", "Admission", "Asker", "Hold"]


class Asker(Protocol):
    """A request that waits for its hold."""

    def admitted(self, hold: Hold) -> None:
        """It may go on."""

    def not_admitted(self, error: PlatformError) -> None:
        """It may not."""


class _Wait:
    __slots__ = ("asker", "began", "deadline", "grant", "input_tokens", "is_answered", "output_tokens", "route")

    def __init__(
        self,
        asker: Asker,
        grant: KeyGrant,
        route: Route,
        input_tokens: int,
        output_tokens: int,
        *,
        began: float,
        deadline: float,
    ) -> None:
        self.asker = asker
        self.grant = grant
        self.route = route
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.began = began
        self.deadline = deadline
        self.is_answered = False


class Admission:
    """The one place where a request is let in. Belongs to the event loop's thread.

    ``clock`` is monotonic. Which window a moment is in is decided by the database's time, told with each of its
    answers, so that no host's clock decides it. ``soon`` calls back in a later turn: those who waited are told there,
    each for itself.
    """

    def __init__(
        self,
        *,
        console_url: str = "",
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        soon: Callable[[Callable[[], None]], object] = lambda call: call(),
    ) -> None:
        self.prices = PriceList()
        #: Requests that wait for a lease, in the order they came.
        self.waits: dict[Asker, _Wait] = {}
        #: Called when the database should be spoken to at once; set by the keeper.
        self.ring: Callable[[], None] = lambda: None
        #: When (by ``clock``) the database was lost; None while it answers.
        self.lost_at: float | None = clock()
        #: Requests that cost more than their hold, because a price was raised while they ran.
        self.overruns = 0
        self.refused = 0
        self.book = LeaseBook(self)
        self._organizations = self.book.organizations
        self._gates = self.book.gates
        self._console_url = console_url.rstrip("/")
        self._patience = patience_seconds
        self._clock = clock
        self._soon = soon
        #: Somebody waits of whom the database was not told.
        self.is_asked_anew = False
        self._offset = wall() - clock()

    @property
    def organizations(self) -> dict[str, OrganizationGrant]:
        """As the control plane last told them."""
        return self._organizations

    def now(self) -> float:
        """Unix seconds by the database's clock."""
        return self._clock() + self._offset

    def take(
        self, asker: Asker, grant: KeyGrant, route: Route, *, input_tokens: int, output_tokens: int
    ) -> Hold | None:
        """A hold of at most so many tokens, at once where the leases suffice. None: ``asker`` is told within about a
        second. Raises RateLimited, BudgetExhausted or LimitsUnavailable."""
        if grant.limits is NO_LIMITS:
            organization = self._organizations.get(grant.organization_id)
            if organization is None or not (
                organization.limits is not NO_LIMITS or organization.deployments or organization.has_wallet
            ):
                return FREE_HOLD
        gates = self._gates.get(grant.id)
        gate = gates.get(route.id) if gates is not None else None
        now = self._clock() + self._offset
        if gate is None or now >= gate.ends:
            gate = self.book.make_gate(grant, route, now)
        if not gate.leases:
            return FREE_HOLD
        tokens = input_tokens + output_tokens
        cost = input_tokens * gate.most_input + output_tokens * gate.most_output + gate.most_request
        if not gate.take(tokens, cost):
            self._wait(asker, grant, route, input_tokens, output_tokens)
            return None
        if not gate.is_dirty:
            self.book.note(gate)
        return Hold(gate, tokens, cost, gate.headers.text(now))

    def forget(self, asker: Asker) -> None:
        """It waits no more."""
        self.waits.pop(asker, None)

    def note(self, gate: Gate) -> None:
        """Something of ``gate`` is to be reported."""
        self.book.note(gate)

    # -- those who wait

    def _wait(self, asker: Asker, grant: KeyGrant, route: Route, input_tokens: int, output_tokens: int) -> None:
        clock = self._clock()
        now = clock + self._offset
        gate = self.book.gate_of(grant, route, now)
        short, amount = gate.short(*gate.worst(input_tokens, output_tokens))
        if short.can_never_be(amount) or now < short.exhausted_until:
            raise self._refusal(gate, short, amount, now)
        if self.lost_at is not None and clock >= self.lost_at + self._patience and short.held <= 0:
            self.refused += 1
            raise LimitsUnavailable
        self.waits[asker] = _Wait(
            asker, grant, route, input_tokens, output_tokens, began=now, deadline=clock + self._patience
        )
        self.is_asked_anew = True
        self.ring()

    def retry(self) -> None:
        """Look again at everybody who waits, because something has come in or time has passed."""
        clock = self._clock()
        now = clock + self._offset
        for wait in list(self.waits.values()):
            if wait.is_answered:
                continue
            error: PlatformError | None = None
            hold: Hold | None = None
            try:
                hold = self._again(wait, clock, now)
            except PlatformError as refused:
                error = refused
            if hold is not None or error is not None:
                wait.is_answered = True
                self._soon(functools.partial(self._answer, wait, hold, error))

    def _answer(self, wait: _Wait, hold: Hold | None, error: PlatformError | None) -> None:
        has_left = self.waits.get(wait.asker) is not wait
        if not has_left:
            del self.waits[wait.asker]
        if hold is not None and has_left:
            hold.settle(input_tokens=0, cached_tokens=0, output_tokens=0)
        elif hold is not None:
            wait.asker.admitted(hold)
        elif error is not None and not has_left:
            wait.asker.not_admitted(error)

    def _again(self, wait: _Wait, clock: float, now: float) -> Hold | None:
        gate = self.book.gate_of(wait.grant, wait.route, now)
        if not gate.leases:
            return FREE_HOLD  # the limit that it waited for is gone
        tokens, cost = gate.worst(wait.input_tokens, wait.output_tokens)
        if gate.take(tokens, cost):
            self.book.note(gate)
            return Hold(gate, tokens, cost, gate.headers.text(now))
        short, amount = gate.short(tokens, cost)
        is_final = short.answered_at > wait.began and amount > short.remaining and short.is_exhausted
        if short.can_never_be(amount) or is_final:
            raise self._refusal(gate, short, amount, now)
        if clock >= wait.deadline:
            if self.lost_at is not None or short.answered_at <= wait.began or amount <= short.remaining:
                self.refused += 1
                raise LimitsUnavailable  # there may be more, and nobody could say so in time
            raise self._refusal(gate, short, amount, now)
        return None

    def _refusal(self, gate: Gate, lease: Lease, amount: int, now: float) -> PlatformError:
        self.refused += 1
        if now >= lease.exhausted_until:
            lease.exhausted_until = min(now + _EXHAUSTED_SECONDS, lease.ends)
            # Too little for this request here may be what another worker lacks.
            lease.is_wanted = True
            self.book.tell_soon(lease)
        url = self._top_up_url(lease)
        headers = gate.headers.fresh(now)
        return refusal(lease, amount, now=now, top_up_url=url, headers=headers, currency=gate.currency)

    def _top_up_url(self, lease: Lease) -> str:
        organization = self._organizations.get(lease.organization_id)
        page = "wallet" if lease.is_balance else "limits"
        return f"{self._console_url}/{organization.slug}/{page}" if self._console_url and organization else ""

    # -- the database's word

    def wanted(self, boot_id: str, payload: str) -> None:
        """A notice that a worker is short of an allowance: what lies idle here goes back. ``boot_id`` is our own."""
        words = payload.split(" ")
        if len(words) == 5 and words[0] != boot_id and self.book.wanted(words[1], words[2], words[3], int(words[4])):
            self.ring()

    def report(self) -> Report:
        """What to tell the database now: it must be told, again and again until it is heard, before the next one."""
        now = self.now()
        self.is_asked_anew = False
        for wait in self.waits.values():
            if wait.is_answered:
                continue
            gate = self.book.gate_of(wait.grant, wait.route, now)
            tokens, cost = gate.worst(wait.input_tokens, wait.output_tokens)
            for lease in gate.leases:
                amount = cost if lease.measure is Measure.MONEY else tokens if lease.measure is Measure.TOKENS else 1
                if lease.free < amount:
                    lease.wants(amount)
                    self.book.tell_now(lease)
        return self.book.report(now)

    def learn(self, report: Report, rows: Iterable[tuple[int, int, int, int, int]], *, at: float) -> None:
        """The database's answer to ``report``; ``at`` is its time in Unix seconds."""
        self._offset = at - self._clock()
        for n, amount, room, capacity, others in rows:
            report.leases[n].learn(amount=amount, room=room, capacity=capacity, others=others, now=at)
        self.retry()
