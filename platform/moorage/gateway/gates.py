"""A gate: the leases that one key needs for one route; and a hold: what one request took at it."""

from collections.abc import Callable, Iterable, Sized
from typing import Final, Protocol

from moorage.gateway.leases import Lease
from moorage.gateway.price_list import PriceList, Quote
from moorage.gateway.rate_headers import RateHeaders
from moorage.kernel import window
from moorage.kernel.currencies import USD
from moorage.wire.limits import Measure

_FOREVER: Final = float("inf")
#: For whoever has no budget in money: nobody asks what a token costs.
NO_QUOTE: Final = Quote(input=0, cached=0, output=0, most_input=0, most_output=0, until=_FOREVER)


class Settling(Protocol):
    """Who is told of what was settled."""

    prices: PriceList
    #: Requests that cost more than their hold, because a price was raised while they ran.
    overruns: int
    #: Called when somebody waits for what is given back.
    ring: Callable[[], None]

    @property
    def waits(self) -> Sized:
        """Those who wait."""

    def now(self) -> float:
        """Unix seconds."""

    def note(self, gate: "Gate") -> None:
        """Something of ``gate`` is to be reported."""


class Gate:
    """Good until the first window of its leases ends. Shared by all requests of the key for the route."""

    __slots__ = (
        "currency",
        "ends",
        "headers",
        "is_dirty",
        "leases",
        "money",
        "most_input",
        "most_output",
        "most_request",
        "organization_id",
        "places",
        "quote",
        "served_name",
        "settling",
        "singles",
        "tokens",
    )

    def __init__(
        self,
        *,
        settling: Settling,
        leases: Iterable[Lease],
        quote: Quote,
        served_name: str,
        organization_id: str = "",
        currency: str = USD,
    ) -> None:
        found: dict[Measure, list[Lease]] = {measure: [] for measure in Measure}
        ends = float(window.NEVER)
        for lease in leases:
            found[lease.measure].append(lease)
            ends = min(ends, float(lease.ends))
        self.settling = settling
        requests = tuple(found[Measure.REQUESTS])
        self.places = tuple(found[Measure.CONCURRENT])
        self.tokens = tuple(found[Measure.TOKENS])
        self.money = tuple(found[Measure.MONEY])
        #: All of them, those first whose refusal says most.
        self.leases = self.money + requests + self.tokens + self.places
        #: Those of which a request takes one.
        self.singles = requests + self.places
        self.quote = quote
        self.most_input = quote.most_input if self.money else 0
        self.most_output = quote.most_output if self.money else 0
        self.most_request = quote.most_request if self.money else 0
        self.served_name = served_name
        self.organization_id = organization_id
        #: What the organization pays in: its leases of money count in it.
        self.currency = currency
        #: Unix seconds.
        self.ends = min(ends, quote.until) if self.money else ends
        self.headers = RateHeaders(requests=requests, tokens=self.tokens)
        self.is_dirty = False

    def worst(self, input_tokens: int, output_tokens: int) -> tuple[int, int]:
        """The tokens, and the pico-units of money, that a request may use."""
        cost = input_tokens * self.most_input + output_tokens * self.most_output + self.most_request
        return input_tokens + output_tokens, cost

    def take(self, tokens: int, cost: int) -> bool:
        """Takes a request's worst case from every lease, or nothing from any."""
        for lease in self.singles:
            free = lease.free - 1
            if free < 0:
                return self._undo(lease, tokens, cost)
            lease.free = free
        for lease in self.tokens:
            free = lease.free - tokens
            if free < 0:
                return self._undo(lease, tokens, cost)
            lease.free = free
        for lease in self.money:
            free = lease.free - cost
            if free < 0:
                return self._undo(lease, tokens, cost)
            lease.free = free
        return True

    def _undo(self, failed: Lease, tokens: int, cost: int) -> bool:
        """Gives back what was taken from those before ``failed``."""
        for lease in self.singles + self.tokens + self.money:
            if lease is failed:
                break
            lease.free += self.amount(lease, tokens, cost)
        return False

    def short(self, tokens: int, cost: int) -> tuple[Lease, int]:
        """The first lease that has too little, and what the request would take of it."""
        for lease in self.leases:
            amount = self.amount(lease, tokens, cost)
            if lease.free < amount:
                return lease, amount
        raise AssertionError("nothing is short")

    @staticmethod
    def amount(lease: Lease, tokens: int, cost: int) -> int:
        """What a request takes of ``lease``."""
        return cost if lease.measure is Measure.MONEY else tokens if lease.measure is Measure.TOKENS else 1


class Hold:
    """What one request may use at most; settled exactly once with what it did use."""

    __slots__ = ("_cost", "_gate", "_tokens", "headers")

    def __init__(self, gate: Gate, tokens: int, cost: int, headers: bytes) -> None:
        self._gate = gate
        self._tokens = tokens
        self._cost = cost
        #: Whole lines for the answer's head: ``x-ratelimit-…``.
        self.headers = headers

    def settle(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> None:
        """Keep what was used, give back the rest. With zeros nothing is kept but the request itself."""
        gate = self._gate
        for lease in gate.places:
            lease.free += 1
        if gate.tokens:
            used = input_tokens + output_tokens
            unused = self._tokens - used
            for lease in gate.tokens:
                lease.free += unused
                lease.spent += used
        settling = gate.settling
        if gate.money:
            quote = gate.quote
            if quote.until < _FOREVER and settling.now() >= quote.until:
                quote = settling.prices.quote(gate.served_name, settling.now(), gate.organization_id, gate.currency)
            cost = (
                (input_tokens - cached_tokens) * quote.input
                + cached_tokens * quote.cached
                + output_tokens * quote.output
                + (quote.request if input_tokens or output_tokens else 0)
            )
            unused = self._cost - cost
            if unused < 0:
                settling.overruns += 1
            for lease in gate.money:
                lease.free += unused
                lease.spent += cost
        if not gate.is_dirty:
            settling.note(gate)
        if settling.waits:
            settling.ring()


class _Free(Hold):
    """For whoever has no limits: nothing is taken, nothing is settled."""

    __slots__ = ()

    def __init__(self) -> None:
        self.headers = b""

    def settle(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> None:
        """Nothing."""


FREE_HOLD: Final = _Free()
