"""The one rounding point: half away from zero, lines by largest remainder, credits as mirrors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.billing.rounding import to_cents
from moorage.kernel.money import PICO_PER_CENT

CENT = PICO_PER_CENT


@pytest.mark.parametrize(
    ("amounts", "total", "shares"),
    [
        ([], 0, ()),
        ([CENT], 1, (1,)),
        ([CENT // 2], 1, (1,)),
        ([CENT // 2 - 1], 0, (0,)),
        ([-CENT // 2], -1, (-1,)),
        ([100 * CENT // 3 + 1, 100 * CENT // 3 + 1, 100 * CENT // 3 + 1], 100, (34, 33, 33)),
        ([CENT * 4 // 10, CENT * 4 // 10, CENT * 2 // 10], 1, (1, 0, 0)),
        ([CENT * 2 // 10, CENT * 4 // 10, CENT * 4 // 10], 1, (0, 1, 0)),
        ([5 * CENT + 1, 0, 7 * CENT - 1], 12, (5, 0, 7)),
    ],
)
def test_shares_are_by_largest_remainder_of_a_total_rounded_half_away_from_zero(
    amounts: list[int], total: int, shares: tuple[int, ...]
) -> None:
    assert to_cents(amounts) == (total, shares)


_amounts = st.lists(st.integers(min_value=-(10**20), max_value=10**20), max_size=40)


@given(_amounts)
def test_lines_add_up_to_the_total_and_are_never_off_by_a_cent(amounts: list[int]) -> None:
    total, shares = to_cents(amounts)

    assert sum(shares) == total
    assert abs(total * CENT - sum(amounts)) * 2 <= CENT
    assert all(abs(share * CENT - amount) < CENT for share, amount in zip(shares, amounts, strict=True))


@given(_amounts.filter(lambda amounts: sum(amounts) != 0))
def test_a_credit_mirrors_its_charge_to_the_cent(amounts: list[int]) -> None:
    total, shares = to_cents(amounts)

    assert to_cents([-amount for amount in amounts]) == (-total, tuple(-share for share in shares))
