"""What of a numbered invoice still stands: its amounts less those of its credit notes; the entries that undo them."""

import dataclasses
from collections.abc import Mapping
from typing import Final

from django.db.models import Sum

from moorage.billing.ledger import Account
from moorage.billing.models import CreditNote, Invoice, InvoiceStatus, Statement
from moorage.kernel.money import PICO_PER_CENT

_OPEN: Final = frozenset({InvoiceStatus.FINALIZED, InvoiceStatus.UNCOLLECTIBLE})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """A part of an invoice, or all of it: whole cents before tax, tax, and what the former are exactly."""

    subtotal_cents: int
    tax_cents: int
    exact_pico: int

    @property
    def total_cents(self) -> int:
        """With tax."""
        return self.subtotal_cents + self.tax_cents


def exact_pico(invoice: Invoice) -> int:
    """What the invoice's subtotal is exactly: the statement's due amount."""
    total, credit = Statement.objects.values_list("total_pico", "credit_applied_pico").get(pk=invoice.statement_id)
    return int(total) - int(credit)


def left_of(invoice: Invoice) -> Amounts:
    """What no credit note has taken back yet."""
    credited = CreditNote.objects.filter(invoice_id=invoice.pk).aggregate(
        subtotal=Sum("subtotal_cents"), tax=Sum("tax_cents"), exact=Sum("exact_pico")
    )
    return Amounts(
        subtotal_cents=invoice.subtotal_cents - int(credited["subtotal"] or 0),
        tax_cents=invoice.tax_cents - int(credited["tax"] or 0),
        exact_pico=exact_pico(invoice) - int(credited["exact"] or 0),
    )


def cents(invoice: Invoice) -> int:
    """What the customer still has to pay: nothing before a number is given, and once the invoice is paid or void; else
    the total less its credit notes."""
    if InvoiceStatus(invoice.status) not in _OPEN:
        return 0
    credited = CreditNote.objects.filter(invoice_id=invoice.pk).aggregate(sum=Sum("total_cents"))["sum"]
    return invoice.total_cents - int(credited or 0)


def undone(amounts: Amounts, *, claimed_by: Account) -> Mapping[Account, int]:
    """The entries that mirror what an invoice of these amounts has posted, to the pico: revenue as an adjustment,
    rounding and tax back where they came from, all of it off the account that claims it. Pure."""
    return {
        Account.ADJUSTMENT: amounts.exact_pico,
        Account.ROUNDING: amounts.subtotal_cents * PICO_PER_CENT - amounts.exact_pico,
        Account.TAX: amounts.tax_cents * PICO_PER_CENT,
        claimed_by: -amounts.total_cents * PICO_PER_CENT,
    }
