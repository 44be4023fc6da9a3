"""Graduated rates: the first so many units of a month at one rate, the next at another. Pure.

A tier begins at a quantity of the organization's month and lasts until the next one begins; a free allowance is a
first tier at nothing. What a month comes to depends on its quantity alone: in whatever order, and in whatever pieces,
usage is rated, the pieces of all add up to :func:`amount`.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from moorage.billing.errors import InvalidPrice

#: More tiers than this are a mistake.
MOST: Final = 20
#: No month has more units.
_MOST_UNITS: Final = 10**17


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """From this quantity of the month on, this many pico-units a unit."""

    begins: int
    pico: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a quantity that lies in one tier."""

    tier: int
    quantity: int
    pico: int


def split(tiers: Sequence[Tier], *, used: int, quantity: int) -> Iterator[Piece]:
    """The pieces of the next ``quantity`` units after ``used`` ones, in the order of the tiers. Their quantities add up
    to ``quantity``; nothing for nothing."""
    end = used + quantity
    for number, tier in enumerate(tiers):
        until = tiers[number + 1].begins if number + 1 < len(tiers) else end
        inside = min(end, until) - max(used, tier.begins)
        if inside > 0:
            yield Piece(tier=number, quantity=inside, pico=tier.pico)


def amount(tiers: Sequence[Tier], quantity: int) -> int:
    """What ``quantity`` units of a month come to: the closed formula that the pieces are held against."""
    total = 0
    for number, tier in enumerate(tiers):
        step = tier.pico - (tiers[number - 1].pico if number else 0)
        total += max(0, quantity - tier.begins) * step
    return total


def check(tiers: Sequence[Tier]) -> None:
    """Raises InvalidPrice unless the tiers begin at 0 and climb, without a price or a quantity beyond sense."""
    if not tiers:
        return
    begins = [tier.begins for tier in tiers]
    if begins[0] != 0 or any(later <= earlier for earlier, later in itertools.pairwise(begins)):
        raise InvalidPrice("The first tier begins at 0, and each one later than the one before it.", param="tiers")
    if len(tiers) > MOST or begins[-1] > _MOST_UNITS:
        raise InvalidPrice(f"A price has at most {MOST} tiers, none beyond 10¹⁷ units.", param="tiers")


def dearest(tiers: Sequence[Tier]) -> int:
    """The highest rate of them: what a hold reckons with."""
    return max(tier.pico for tier in tiers)


def held_too_much(tiers: Sequence[Tier], quantity: int) -> int:
    """The most by which a hold of ``quantity`` units at the dearest rate is above what they cost, wherever in the month
    they lie. Workers hold side by side, without knowing how far the others have brought the month: no cheaper rate is
    safe for all of them at a border. It is given back when the usage is rated, seconds later (wallet_allowance.py)."""
    return quantity * (dearest(tiers) - min(tier.pico for tier in tiers))


def as_json(tiers: Sequence[Tier]) -> list[dict[str, int]]:
    """As the table keeps them."""
    return [{"from": tier.begins, "pico": tier.pico} for tier in tiers]


def of_json(found: object) -> tuple[Tier, ...]:
    """The inverse of :func:`as_json`."""
    assert isinstance(found, list)
    return tuple(Tier(begins=int(one["from"]), pico=int(one["pico"])) for one in found)
