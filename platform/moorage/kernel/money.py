"""Money as an integer number of pico-units (1e-12) of one currency: exact at any price of a token.

Nothing here rounds but :meth:`Money.to_cents`, and only an invoice total calls that.
"""

import dataclasses
from decimal import Context, Decimal, Inexact
from typing import Final, Self

from moorage.kernel.currencies import USD

PICO: Final = 10**12
PICO_PER_CENT: Final = 10**10
#: Products of Decimals that would lose digits raise instead.
_EXACT: Final = Context(prec=60, traps=[Inexact])


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Money:
    """An exact amount. ``pico`` may be negative; amounts of different currencies do not mix."""

    pico: int
    currency: str = USD

    def __post_init__(self) -> None:
        if type(self.pico) is not int:
            raise TypeError(f"money is a whole number of pico-units, not {type(self.pico).__name__}")

    @classmethod
    def from_decimal(cls, amount: Decimal, currency: str = USD) -> Self:
        """``amount`` currency units, which must have at most twelve decimals (decimal.Inexact otherwise)."""
        if type(amount) is not Decimal:
            raise TypeError(f"money is made from Decimal, not {type(amount).__name__}")
        return cls(int(_EXACT.to_integral_exact(_EXACT.multiply(amount, Decimal(PICO)))), currency)

    def __add__(self, other: Self) -> Self:
        self._same_currency(other)
        return dataclasses.replace(self, pico=self.pico + other.pico)

    def __sub__(self, other: Self) -> Self:
        self._same_currency(other)
        return dataclasses.replace(self, pico=self.pico - other.pico)

    def __neg__(self) -> Self:
        return dataclasses.replace(self, pico=-self.pico)

    def __mul__(self, count: int) -> Self:
        if type(count) is not int:
            raise TypeError(f"money is multiplied by whole numbers, not {type(count).__name__}")
        return dataclasses.replace(self, pico=self.pico * count)

    def to_decimal(self) -> Decimal:
        """The exact amount in currency units."""
        return _EXACT.divide(Decimal(self.pico), Decimal(PICO))

    def to_cents(self) -> int:
        """Whole cents, half away from zero, so that a credit of −x mirrors a charge of x."""
        quotient, remainder = divmod(abs(self.pico), PICO_PER_CENT)
        cents = quotient + (1 if remainder * 2 >= PICO_PER_CENT else 0)
        return cents if self.pico >= 0 else -cents

    def __str__(self) -> str:
        """Every digit that is there, at least two decimals: ``0.000125 USD``."""
        text = format(self.to_decimal(), "f")
        whole, _, fraction = text.partition(".")
        return f"{whole}.{fraction.rstrip('0').ljust(2, '0')} {self.currency}"

    def _same_currency(self, other: Self) -> None:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not add up")


def amount_text(pico: int) -> str:
    """Every digit that is there, at least two decimals, without the currency: ``0.000125``."""
    return str(Money(pico)).partition(" ")[0]
