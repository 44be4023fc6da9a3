"""A second biller, as plain as can be: big integers, no database, no code of ours. It must come to the same pico.

It knows prices by name or prefix, negotiated prices, ends of validity, graduated tiers, prices by the request and by
the replica second, and credit. A price in another currency than the owner pays in is none.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListedPrice:
    """A price from a moment on, for names that begin with ``prefix`` (or are it, when ``is_exact``)."""

    meter: str
    prefix: str
    is_exact: bool
    pico: int
    begins: dt.datetime
    ends: dt.datetime | None = None
    #: Whose alone it is; empty: everybody's.
    owner: str = ""
    #: (from which quantity of the month on, pico), the first from 0; none: ``pico`` for all.
    tiers: tuple[tuple[int, int], ...] = ()
    currency: str = "USD"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Used:
    """One request; or, with ``seconds``, an interval of replica time."""

    name: str
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    ended: dt.datetime
    owner: str = ""
    seconds: int = 0
    #: What its owner pays in.
    currency: str = "USD"


@dataclasses.dataclass(kw_only=True)
class Charge:
    """What one organization's month comes to for one meter of one name."""

    owner: str
    month: str
    name: str
    meter: str
    quantity: int = 0
    pico: int = 0


def bill(used: list[Used], listed: list[ListedPrice]) -> dict[tuple[str, str], tuple[int, int]]:
    """Quantity and pico by (name, meter); what has no price for one of its meters is left out altogether."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for one in charges(used, listed):
        quantity, pico = sums.get((one.name, one.meter), (0, 0))
        sums[one.name, one.meter] = (quantity + one.quantity, pico + one.pico)
    return sums


def charges(used: Iterable[Used], listed: list[ListedPrice]) -> list[Charge]:
    """The bill, in the order in which usage is given: the order in which a month goes through its tiers."""
    found: dict[tuple[str, str, str, str], Charge] = {}
    counted: dict[tuple[str, int, str], int] = {}
    for one in used:
        month = f"{one.ended:%Y-%m}"
        counts = {
            "input_tokens": one.input_tokens - one.cached_tokens,
            "cached_input_tokens": one.cached_tokens,
            "output_tokens": one.output_tokens,
            "requests": 1 if one.input_tokens + one.output_tokens > 0 else 0,
            "replica_seconds": one.seconds,
        }
        priced = {meter: _price(listed, meter, one) for meter, count in counts.items() if count > 0}
        if any(price is None and meter != "requests" for meter, price in priced.items()):
            continue
        for meter, price in priced.items():
            if price is None:
                continue
            place = (one.owner, listed.index(price), month)
            before, counted[place] = counted.get(place, 0), counted.get(place, 0) + counts[meter]
            charge = found.setdefault(
                (one.owner, month, one.name, meter), Charge(owner=one.owner, month=month, name=one.name, meter=meter)
            )
            charge.quantity += counts[meter]
            charge.pico += _amount(price, counted[place]) - _amount(price, before)
    return list(found.values())


def draw(credits: list[int], pico: int) -> list[int]:
    """What is left of credits, given in the order of their use, after ``pico`` of usage."""
    left = []
    for credit in credits:
        taken = min(credit, pico)
        pico -= taken
        left.append(credit - taken)
    return left


def _amount(price: ListedPrice, quantity: int) -> int:
    """What a month of so many units comes to."""
    tiers = price.tiers or ((0, price.pico),)
    edges = [begin for begin, _ in tiers[1:]]
    return sum(
        max(0, min(quantity, end if end is not None else quantity) - begin) * pico
        for (begin, pico), end in zip(tiers, [*edges, None], strict=True)
    )


def _price(listed: list[ListedPrice], meter: str, one: Used) -> ListedPrice | None:
    """An own price before a listed one, the most specific name first, then the latest that has begun in its scope. One
    that is over ends its scope: what follows is the next best scope."""
    scopes: dict[tuple[str, bool, str], ListedPrice] = {}
    for price in listed:
        fits = one.name == price.prefix if price.is_exact else one.name.startswith(price.prefix)
        if (
            price.currency != one.currency
            or price.meter != meter
            or price.begins > one.ended
            or not fits
            or price.owner not in ("", one.owner)
        ):
            continue
        scope = (price.owner, price.is_exact, price.prefix)
        if scope not in scopes or price.begins > scopes[scope].begins:
            scopes[scope] = price
    lasting = [price for price in scopes.values() if price.ends is None or one.ended < price.ends]
    return max(lasting, key=lambda price: (price.owner != "", price.is_exact, len(price.prefix)), default=None)
