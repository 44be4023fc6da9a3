"""A second biller, as plain as can be: big integers, no database, no code of ours. It must come to the same pico."""

import dataclasses
import datetime as dt


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListedPrice:
    """A price from a moment on, for names that begin with ``prefix`` (or are it, when ``is_exact``)."""

    meter: str
    prefix: str
    is_exact: bool
    pico: int
    begins: dt.datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Used:
    """One request."""

    name: str
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    ended: dt.datetime


def bill(used: list[Used], listed: list[ListedPrice]) -> dict[tuple[str, str], tuple[int, int]]:
    """Quantity and pico by (name, meter); what has no price for one of its meters is left out altogether."""
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for one in used:
        counts = {
            "input_tokens": one.input_tokens - one.cached_tokens,
            "cached_input_tokens": one.cached_tokens,
            "output_tokens": one.output_tokens,
        }
        charges = {meter: _price(listed, meter, one) for meter, count in counts.items() if count > 0}
        if None in charges.values():
            continue
        for meter, pico in charges.items():
            quantity, amount = sums.get((one.name, meter), (0, 0))
            sums[one.name, meter] = (quantity + counts[meter], amount + counts[meter] * (pico or 0))
    return sums


def _price(listed: list[ListedPrice], meter: str, one: Used) -> int | None:
    best: ListedPrice | None = None
    for price in listed:
        fits = one.name == price.prefix if price.is_exact else one.name.startswith(price.prefix)
        if price.meter != meter or price.begins > one.ended or not fits:
            continue
        if best is None or _rank(price) > _rank(best):
            best = price
    return best.pico if best else None


def _rank(price: ListedPrice) -> tuple[bool, int, dt.datetime]:
    return (price.is_exact, len(price.prefix), price.begins)
