"""What a request may cost at most, and what it did cost: the prices in force, as billing finds them.

A price is chosen by the moment a request ends. A hold, which is taken when it begins, reckons with the dearest price
that comes into force within the hour. Where a model has no price, it costs nothing: limits of tokens still hold.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from moorage.kernel import patterns
from moorage.wire.records import PriceGrant

INPUT: Final = "input_tokens"
CACHED: Final = "cached_input_tokens"
OUTPUT: Final = "output_tokens"
#: How long a request may run and still be sure that its hold was enough.
_HORIZON_US: Final = 3600 * 1_000_000


class Quote(NamedTuple):
    """Pico-dollars a token of one model until ``until`` (Unix seconds)."""

    input: int
    cached: int
    output: int
    #: The dearest of any input token, and of an output token, of what is in force now or within the hour.
    most_input: int
    most_output: int
    until: float


class PriceList:
    """All prices of tokens. Immutable: a change is a new list."""

    def __init__(self, prices: Iterable[PriceGrant] = ()) -> None:
        self._by_meter: dict[str, list[PriceGrant]] = {INPUT: [], CACHED: [], OUTPUT: []}
        for price in prices:
            if price.meter in self._by_meter:
                self._by_meter[price.meter].append(price)
        for found in self._by_meter.values():
            found.sort(
                key=lambda price: (*patterns.specificity(price.model), price.valid_from_us, price.id), reverse=True
            )

    def quote(self, served_name: str, now: float) -> Quote:
        """What tokens of ``served_name`` cost at ``now`` (Unix seconds)."""
        moment = int(now * 1_000_000)
        rows = {meter: self._fitting(meter, served_name) for meter in (INPUT, CACHED, OUTPUT)}
        changes = sorted({row.valid_from_us for found in rows.values() for row in found if row.valid_from_us > moment})
        near = [moment, *(change for change in changes if change <= moment + _HORIZON_US)]
        # A change that enters the horizon makes another quote, as does one that is reached.
        edges = [edge for change in changes for edge in (change - _HORIZON_US, change) if edge > moment]
        price = {meter: _in_force(found, moment) for meter, found in rows.items()}
        most = {meter: max(_in_force(found, at) for at in near) for meter, found in rows.items()}
        return Quote(
            input=price[INPUT],
            cached=price[CACHED],
            output=price[OUTPUT],
            most_input=max(most[INPUT], most[CACHED]),
            most_output=most[OUTPUT],
            until=min(edges) / 1_000_000 if edges else float("inf"),
        )

    def _fitting(self, meter: str, served_name: str) -> list[PriceGrant]:
        return [price for price in self._by_meter[meter] if patterns.matches(price.model, served_name)]


def _in_force(rows: list[PriceGrant], moment: int) -> int:
    """The price of one token at ``moment`` (Unix microseconds); ``rows`` are the most specific and latest first."""
    return next((row.pico_per_unit for row in rows if row.valid_from_us <= moment), 0)
