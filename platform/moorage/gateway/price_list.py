"""What a request may cost at most, and what it did cost: the prices in force, as billing finds them.

A price is chosen by the moment a request ends. A hold, which is taken when it begins, reckons with the dearest price
that comes into force within the hour. Where a model has no price in the organization's currency, it costs nothing:
limits of tokens still hold, and billing says so aloud. Of a graduated price the gateway knows the dearest rate alone,
and both holds and settles by it: never too little.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from moorage.kernel import patterns
from moorage.kernel.currencies import USD
from moorage.wire.records import PriceGrant

INPUT: Final = "input_tokens"
CACHED: Final = "cached_input_tokens"
OUTPUT: Final = "output_tokens"
REQUESTS: Final = "requests"
_METERS: Final = (INPUT, CACHED, OUTPUT, REQUESTS)
#: How long a request may run and still be sure that its hold was enough.
_HORIZON_US: Final = 3600 * 1_000_000
_NEVER_US: Final = float("inf")


class Quote(NamedTuple):
    """Pico-units a token of one model until ``until`` (Unix seconds)."""

    input: int
    cached: int
    output: int
    #: The dearest of any input token, and of an output token, of what is in force now or within the hour.
    most_input: int
    most_output: int
    until: float
    #: For a request that uses a token, now and at most.
    request: int = 0
    most_request: int = 0


class _Lasting(NamedTuple):
    """A price and when it ceases to be in force."""

    price: PriceGrant
    until_us: float


class PriceList:
    """All prices of tokens and requests. Immutable: a change is a new list."""

    def __init__(self, prices: Iterable[PriceGrant] = ()) -> None:
        scopes: dict[tuple[str, str, str, str], list[PriceGrant]] = {}
        for price in prices:
            if price.meter in _METERS:
                scope = (price.meter, price.organization_id, price.currency, price.model)
                scopes.setdefault(scope, []).append(price)
        self._by_owner: dict[tuple[str, str, str], list[_Lasting]] = {}
        for (meter, owner, currency, _), found in scopes.items():
            self._by_owner.setdefault((meter, owner, currency), []).extend(_lasting(found))
        for lasting in self._by_owner.values():
            lasting.sort(
                key=lambda each: (*patterns.specificity(each.price.model), each.price.valid_from_us, each.price.id),
                reverse=True,
            )

    def quote(self, served_name: str, now: float, organization_id: str = "", currency: str = USD) -> Quote:
        """What ``served_name`` costs ``organization_id``, which pays in ``currency``, at ``now`` (Unix seconds)."""
        moment = int(now * 1_000_000)
        rows = {meter: self._fitting(meter, served_name, organization_id, currency) for meter in _METERS}
        bounds = {
            bound for found in rows.values() for each in found for bound in (each.price.valid_from_us, each.until_us)
        }
        changes = sorted(int(bound) for bound in bounds if moment < bound < _NEVER_US)
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
            request=price[REQUESTS],
            most_request=most[REQUESTS],
        )

    def _fitting(self, meter: str, served_name: str, organization_id: str, currency: str) -> list[_Lasting]:
        """The best first: the organization's own, then everybody's."""
        own = self._by_owner.get((meter, organization_id, currency), []) if organization_id else []
        listed = self._by_owner.get((meter, "", currency), [])
        return [each for each in (*own, *listed) if patterns.matches(each.price.model, served_name)]


def _lasting(rows: list[PriceGrant]) -> Iterable[_Lasting]:
    """A price lasts until the next one of its scope begins, or until its own end."""
    rows.sort(key=lambda price: (price.valid_from_us, price.id))
    nexts = [price.valid_from_us for price in rows[1:]]
    for price, following in zip(rows, [*nexts, _NEVER_US], strict=True):
        yield _Lasting(price, min(following, _NEVER_US if price.valid_to_us is None else price.valid_to_us))


def _in_force(rows: list[_Lasting], moment: int) -> int:
    """The price of one unit at ``moment`` (Unix microseconds); ``rows`` are the best first."""
    return next((each.price.pico_per_unit for each in rows if each.price.valid_from_us <= moment < each.until_us), 0)
