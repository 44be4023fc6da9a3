"""One tax with one rate for every customer: for sellers whose customers are all in one place."""

import dataclasses

from moorage.billing.tax import Taxed, TaxLine, tax_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FixedTax:
    """``rate`` on whatever is due, under ``label``."""

    label: str
    basis_points: int
    name: str = "fixed"

    def lines(self, taxed: Taxed) -> tuple[TaxLine, ...]:
        """One line; none where nothing is due or the rate is zero."""
        if taxed.due_cents == 0 or self.basis_points == 0:
            return ()
        cents = tax_of(taxed.due_cents, self.basis_points)
        return (TaxLine(name=self.label, basis_points=self.basis_points, cents=cents),)
