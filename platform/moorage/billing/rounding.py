"""The one place where money is rounded: an invoice's total, from pico-units to cents, half away from zero.

The lines' cents are then shares of that total by largest remainder, so that they add up to it. A credit of −x is
rounded and shared as the exact mirror of a charge of x. Tax is a part of whole cents and is rounded the same way. Pure.
"""

from collections.abc import Sequence
from typing import Final

from moorage.kernel.money import PICO_PER_CENT, Money

#: Hundredths of a percent in a whole.
BASIS_POINTS: Final = 10_000


def to_cents(amounts: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """The total of ``amounts`` (pico-units) in cents, and each one's share of it, in the same order.

    A share is its amount's whole cents, plus one for those with the largest remainders; of equal remainders the
    earlier line gets it.
    """
    exact = sum(amounts)
    total = Money(exact).to_cents()
    if exact < 0:
        mirrored = to_cents([-amount for amount in amounts])[1]
        return total, tuple(-share for share in mirrored)
    shares = [amount // PICO_PER_CENT for amount in amounts]
    by_remainder = sorted(range(len(amounts)), key=lambda index: (-(amounts[index] % PICO_PER_CENT), index))
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return total, tuple(shares)


def part_of(cents: int, numerator: int, denominator: int) -> int:
    """``cents × numerator ÷ denominator`` in whole cents, half away from zero. The denominator is above zero."""
    exact = cents * numerator
    quotient, remainder = divmod(abs(exact), denominator)
    whole = quotient + (1 if remainder * 2 >= denominator else 0)
    return whole if exact >= 0 else -whole
