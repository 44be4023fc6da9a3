"""Which price is in force, and how a price is written: pure.

A price is a whole number of pico-units a token or a replica second. People write and read tokens per million:
X USD per 1M tokens is exactly X × 10⁶ pico a token when X has at most six decimals; a replica second is exact to
twelve decimals. Nothing is rounded here.
"""

import dataclasses
import datetime as dt
import re
from collections.abc import Iterable
from typing import Final

from moorage.billing.errors import InvalidPrice
from moorage.billing.models import Meter
from moorage.kernel.patterns import matches, specificity

#: Everything is charged in this currency.
CURRENCY: Final = "USD"
#: The highest price of one unit: 1,000 USD.
_MOST_PICO: Final = 10**15
_TOKENS_DECIMALS: Final = 6
_SECONDS_DECIMALS: Final = 12
_SECONDS_OF_HOUR: Final = 3600


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """A price as rating sees it. ``model`` is a served name, or a pattern in which ``*`` stands for anything."""

    id: str
    meter: str
    model: str
    pico_per_unit: int
    valid_from: dt.datetime
    currency: str = CURRENCY


class PriceBook:
    """All prices, and the question which one is in force."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        self._by_meter: dict[str, list[PriceRow]] = {}
        for row in rows:
            self._by_meter.setdefault(row.meter, []).append(row)
        for found in self._by_meter.values():
            found.sort(key=lambda row: (*specificity(row.model), row.valid_from, row.id), reverse=True)
        self._candidates: dict[tuple[str, str], list[PriceRow]] = {}

    def in_force(self, *, meter: str, served_name: str, moment: dt.datetime) -> PriceRow | None:
        """The price of one unit of ``meter`` at ``moment``: of those that have begun, the most specific pattern,
        then the latest beginning. None where nothing fits."""
        key = (meter, served_name)
        candidates = self._candidates.get(key)
        if candidates is None:
            rows = self._by_meter.get(meter, [])
            candidates = self._candidates[key] = [row for row in rows if matches(row.model, served_name)]
        return next((row for row in candidates if row.valid_from <= moment), None)


def parse(meter: str, text: str) -> int:
    """Pico-units of one unit from what a person writes: USD per 1M tokens (at most six decimals), or USD per
    replica second (at most twelve). Raises InvalidPrice with a sentence."""
    decimals = _decimals(meter)
    per = "per 1M tokens" if decimals == _TOKENS_DECIMALS else "per replica second"
    if not re.fullmatch(rf"[0-9]{{1,10}}(?:\.[0-9]{{1,{decimals}}})?", text.strip()):
        raise InvalidPrice(
            f"Write the price in {CURRENCY} {per} as a decimal number with at most {decimals} decimals, such as 0.25.",
            param="price",
        )
    whole, _, fraction = text.strip().partition(".")
    # 10⁻⁶ USD per 1M tokens is 10⁻¹² USD a token: one pico. Likewise 10⁻¹² USD a second.
    pico = int(whole) * 10**decimals + int(fraction.ljust(decimals, "0") or "0")
    if pico > _MOST_PICO:
        raise InvalidPrice("This price is beyond anything sensible. Is the unit right?", param="price")
    return pico


def parse_hour(text: str) -> int:
    """Pico-units of one replica second from USD per replica hour. Raises InvalidPrice, also where the second that it
    comes to has more than twelve decimals: nothing is rounded, the nearest exact prices are named."""
    hour = parse(Meter.REPLICA_SECONDS, text)
    pico, rest = divmod(hour, _SECONDS_OF_HOUR)
    if rest:
        below, above = (text_per_hour(near) for near in (pico, pico + 1))
        raise InvalidPrice(
            f"{text.strip()} {CURRENCY} an hour is no whole number of 10⁻¹² {CURRENCY} a second."
            f" The nearest that are: {below} and {above}.",
            param="price",
        )
    return pico


def text_per_hour(pico_per_second: int) -> str:
    """A price of a replica second as USD per replica hour, exactly: ``0.072``."""
    return text(Meter.REPLICA_SECONDS, pico_per_second * _SECONDS_OF_HOUR)


def text(meter: str, pico_per_unit: int) -> str:
    """The inverse of :func:`parse`: ``0.25``, at least two decimals."""
    decimals = _decimals(meter)
    whole, fraction = divmod(pico_per_unit, 10**decimals)
    return f"{whole}.{f'{fraction:0{decimals}d}'.rstrip('0').ljust(2, '0')}"


def unit(meter: str) -> str:
    """What :func:`text` is the price of: ``1M tokens`` or ``replica second``."""
    return "1M tokens" if _decimals(meter) == _TOKENS_DECIMALS else "replica second"


def is_sensible(pico_per_unit: int) -> bool:
    """Whether a price of one unit is within what the price list takes."""
    return 0 <= pico_per_unit <= _MOST_PICO


def _decimals(meter: str) -> int:
    return _SECONDS_DECIMALS if meter == Meter.REPLICA_SECONDS else _TOKENS_DECIMALS
