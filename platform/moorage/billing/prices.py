"""How a price is written: pure. Which one is in force is price_book.py's.

A price is a whole number of pico-units a token, a request or a replica second. People write and read tokens per
million: X EUR per 1M tokens is exactly X × 10⁶ pico a token when X has at most six decimals; a request and a replica
second are exact to twelve decimals. Nothing is rounded here.
"""

import re
from typing import Final

from moorage.billing.errors import InvalidPrice
from moorage.billing.models import Meter
from moorage.billing.price_book import PriceBook, PriceRow

__all__ = [
    "PriceBook",
    "PriceRow",
    "is_sensible",
    "over_cost",
    "parse",
    "parse_amount",
    "parse_hour",
    "shortfall",
    "text",
    "text_per_hour",
    "unit",
]

#: The highest price of one unit: 1,000 of any currency.
_MOST_PICO: Final = 10**15
_TOKENS_DECIMALS: Final = 6
_WHOLE_DECIMALS: Final = 12
#: Margins are in hundredths of a percent.
_BASIS: Final = 10_000
_SECONDS_OF_HOUR: Final = 3600


def parse(meter: str, text: str) -> int:
    """Pico-units of one unit from what a person writes: an amount per 1M tokens (at most six decimals), or per
    request or replica second (at most twelve). Raises InvalidPrice with a sentence."""
    decimals = _decimals(meter)
    per = f"per {unit(meter)}"
    if not re.fullmatch(rf"[0-9]{{1,10}}(?:\.[0-9]{{1,{decimals}}})?", text.strip()):
        raise InvalidPrice(
            f"Write the price {per} as a decimal number with at most {decimals} decimals, such as 0.25.",
            param="price",
        )
    whole, _, fraction = text.strip().partition(".")
    # 10⁻⁶ per 1M tokens is 10⁻¹² a token: one pico-unit of the currency. Likewise 10⁻¹² a second.
    pico = int(whole) * 10**decimals + int(fraction.ljust(decimals, "0") or "0")
    if pico > _MOST_PICO:
        raise InvalidPrice("This price is beyond anything sensible. Is the unit right?", param="price")
    return pico


def parse_hour(text: str) -> int:
    """Pico-units of one replica second from what an hour costs. Raises InvalidPrice, also where the second that it
    comes to has more than twelve decimals: nothing is rounded, the nearest exact prices are named."""
    hour = parse(Meter.REPLICA_SECONDS, text)
    pico, rest = divmod(hour, _SECONDS_OF_HOUR)
    if rest:
        below, above = (text_per_hour(near) for near in (pico, pico + 1))
        raise InvalidPrice(
            f"{text.strip()} an hour is no whole number of 10⁻¹² a second. The nearest that are: {below} and {above}.",
            param="price",
        )
    return pico


def parse_amount(text: str) -> int:
    """Pico-units of an amount with at most twelve decimals, such as ``500.00``. Raises InvalidPrice."""
    if not re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,12})?", text.strip()):
        raise InvalidPrice("Write the amount as a decimal number such as 500.00.", param="amount")
    whole, _, fraction = text.strip().partition(".")
    return int(whole) * 10**_WHOLE_DECIMALS + int(fraction.ljust(_WHOLE_DECIMALS, "0"))


def text_per_hour(pico_per_second: int) -> str:
    """A price of a replica second as what a replica hour costs, exactly: ``0.072``."""
    return text(Meter.REPLICA_SECONDS, pico_per_second * _SECONDS_OF_HOUR)


def text(meter: str, pico_per_unit: int) -> str:
    """The inverse of :func:`parse`: ``0.25``, at least two decimals."""
    decimals = _decimals(meter)
    whole, fraction = divmod(pico_per_unit, 10**decimals)
    return f"{whole}.{f'{fraction:0{decimals}d}'.rstrip('0').ljust(2, '0')}"


def unit(meter: str) -> str:
    """What :func:`text` is the price of: ``1M tokens``, ``request`` or ``replica second``."""
    if _decimals(meter) == _TOKENS_DECIMALS:
        return "1M tokens"
    return "request" if meter == Meter.REQUESTS else "replica second"


def is_sensible(pico_per_unit: int) -> bool:
    """Whether a price of one unit is within what the price list takes."""
    return 0 <= pico_per_unit <= _MOST_PICO


def over_cost(meter: str, cost_pico: int, basis_points: int) -> int:
    """The price of a unit that costs us ``cost_pico``, with a margin in hundredths of a percent. Raises InvalidPrice
    where that is no whole number of pico-units: nothing is rounded, the nearest exact prices are named."""
    pico, rest = divmod(cost_pico * (_BASIS + basis_points), _BASIS)
    if rest:
        below, above = (f"{text(meter, near)} per {unit(meter)}" for near in (pico, pico + 1))
        raise InvalidPrice(
            f"{text(meter, cost_pico)} and {basis_points} basis points over it are no exact price."
            f" The nearest that are: {below} and {above}.",
            param="margin_basis_points",
        )
    return pico


def shortfall(*, minimum_pico: int, charged_pico: int) -> int:
    """What is missing to the minimum that was agreed on; nothing where more was charged."""
    return max(0, minimum_pico - charged_pico)


def _decimals(meter: str) -> int:
    return _WHOLE_DECIMALS if meter in (Meter.REPLICA_SECONDS, Meter.REQUESTS) else _TOKENS_DECIMALS
