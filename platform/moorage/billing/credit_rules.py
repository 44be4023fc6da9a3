"""What a credit note takes back of an invoice: all that is left, or named parts of it. Pure.

All of it is the exact mirror of what is left: each line's cents and pico, each tax, and the rounding. A part is whole
cents of a line; tax goes back in proportion, reckoned from the beginning each time, so that however an invoice is
taken back piece by piece, the pieces come to exactly the invoice and never to more.
"""

import dataclasses
from collections.abc import Sequence

from moorage.billing.errors import InvalidCredit, NothingToCredit
from moorage.billing.owed import Amounts
from moorage.billing.rounding import part_of
from moorage.kernel.money import PICO_PER_CENT


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """So many cents, before tax, of the invoice's line at this position."""

    position: int
    cents: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LineLeft:
    """A line of the invoice, and what of it is not credited yet, with its sign."""

    position: int
    description: str
    pico: int
    cents: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaxLeft:
    """A tax of the invoice in full, and what of it is credited already."""

    position: int
    name: str
    basis_points: int
    cents: int
    credited_cents: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What a note will say. Lines have the sign of the invoice's; ``tax`` is what goes back of each."""

    lines: tuple[LineLeft, ...]
    tax: tuple[tuple[TaxLeft, int], ...]
    amounts: Amounts


def whole(*, lines: Sequence[LineLeft], tax: Sequence[TaxLeft], left: Amounts) -> Credit:
    """All that is left. Raises NothingToCredit."""
    if left.total_cents <= 0:
        raise NothingToCredit
    return Credit(
        lines=tuple(line for line in lines if line.cents or line.pico),
        tax=tuple((one, one.cents - one.credited_cents) for one in tax),
        amounts=left,
    )


def parts(
    wanted: Sequence[Part],
    *,
    lines: Sequence[LineLeft],
    tax: Sequence[TaxLeft],
    left: Amounts,
    subtotal_cents: int,
) -> Credit:
    """``wanted`` of an invoice of ``subtotal_cents``. Raises InvalidCredit for more than is left of a line or of the
    invoice, NothingToCredit where nothing is left."""
    if left.subtotal_cents <= 0:
        raise NothingToCredit
    known = {line.position: line for line in lines}
    if not wanted or len({part.position for part in wanted}) != len(wanted):
        raise InvalidCredit("Name each line once, with the cents to credit.", param="lines")
    taken = []
    for part in wanted:
        line = known.get(part.position)
        if line is None:
            raise InvalidCredit(f"The invoice has no line {part.position}.", param="lines")
        if not 0 < part.cents <= line.cents:
            raise InvalidCredit(
                f"Of line {part.position}, 1 to {max(line.cents, 0)} cents can be credited.", param="lines"
            )
        taken.append(dataclasses.replace(line, cents=part.cents, pico=part.cents * PICO_PER_CENT))
    cents = sum(part.cents for part in wanted)
    if cents > left.subtotal_cents:
        raise InvalidCredit(f"Of this invoice {left.subtotal_cents} cents are left before tax.", param="lines")
    after = subtotal_cents - left.subtotal_cents + cents
    back = tuple((one, part_of(one.cents, after, subtotal_cents) - one.credited_cents) for one in tax)
    return Credit(
        lines=tuple(sorted(taken, key=lambda line: line.position)),
        tax=back,
        amounts=Amounts(
            subtotal_cents=cents,
            tax_cents=sum(tax_cents for _, tax_cents in back),
            # The last cents of an invoice take with them what its rounding did.
            exact_pico=left.exact_pico if cents == left.subtotal_cents else cents * PICO_PER_CENT,
        ),
    )


def before_tax(
    total_cents: int, *, lines: Sequence[LineLeft], tax: Sequence[TaxLeft], left: Amounts, subtotal_cents: int
) -> int:
    """How much before tax comes to ``total_cents`` with its tax. Raises InvalidCredit where no amount does: tax is
    rounded to cents, so that some totals are none."""
    low, high = 1, min(total_cents, left.subtotal_cents)
    while low <= high:
        middle = (low + high) // 2
        wanted = spread(middle, lines=lines)
        comes_to = parts(wanted, lines=lines, tax=tax, left=left, subtotal_cents=subtotal_cents).amounts.total_cents
        if comes_to == total_cents:
            return middle
        low, high = (middle + 1, high) if comes_to < total_cents else (low, middle - 1)
    raise InvalidCredit(
        f"No part of the invoice comes to exactly {total_cents} cents with its tax, or not so much of it is left."
    )


def spread(cents: int, *, lines: Sequence[LineLeft]) -> tuple[Part, ...]:
    """``cents`` over the lines in proportion to what is left of them, by largest remainder. Raises InvalidCredit."""
    charged = [line for line in lines if line.cents > 0]
    most = sum(line.cents for line in charged)
    if not 0 < cents <= most:
        raise InvalidCredit(f"1 to {most} cents can be credited.", param="amount")
    shares = [cents * line.cents // most for line in charged]
    by_remainder = sorted(range(len(charged)), key=lambda index: (-(cents * charged[index].cents % most), index))
    for index in by_remainder[: cents - sum(shares)]:
        shares[index] += 1
    return tuple(
        Part(position=line.position, cents=share) for line, share in zip(charged, shares, strict=True) if share
    )
