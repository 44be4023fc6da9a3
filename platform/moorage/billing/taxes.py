"""Which tax rule this instance has."""

from django.conf import settings

from moorage.billing.tax import TaxRule
from moorage.billing.tax_fixed import FixedTax
from moorage.billing.tax_none import NoTax


def chosen() -> TaxRule:
    """One rate for everybody where the settings give one, else none."""
    if settings.MOORAGE_TAX_BASIS_POINTS:
        return FixedTax(label=settings.MOORAGE_TAX_NAME, basis_points=settings.MOORAGE_TAX_BASIS_POINTS)
    return NoTax()
