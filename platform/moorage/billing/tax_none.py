"""No tax at all: for sellers who owe none, or who add it elsewhere."""

from moorage.billing.tax import Taxed, TaxLine


class NoTax:
    """Nothing is taxed."""

    name = "none"

    def lines(self, taxed: Taxed) -> tuple[TaxLine, ...]:  # noqa: ARG002 - the port's signature
        """No line."""
        return ()
