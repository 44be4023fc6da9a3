"""What the provider says of an invoice, applied to ours: the decision is pure, the deed goes through invoices.py.

The provider's present state is what counts, never an event's snapshot: any order of webhooks, any number of
duplicates, and a poll in between come to the same end. What does not fit (another amount, another currency, another
owner, money for an invoice that is void) changes nothing and is said aloud.
"""

import dataclasses
import datetime as dt
import enum
import logging

from django.db import transaction

from moorage.billing import invoices, settlement
from moorage.billing.models import Invoice, InvoiceStatus, ProviderCustomer
from moorage.billing.payments import ProviderInvoice, ProviderStatus

logger = logging.getLogger(__name__)


class Move(enum.StrEnum):
    """What follows from the provider's state."""

    NOTHING = "nothing"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our side of the comparison."""

    invoice_id: str
    status: InvoiceStatus
    currency: str
    total_cents: int
    statement_sha256: str
    customer_reference: str
    #: It is paid, by the organization's credit: at the provider it is void, or soon.
    is_from_credit: bool = False


class StateMismatch(Exception):
    """The provider's invoice is not the one we issued, or money came where none was owed. A person has to look."""


def decide(ours: Ours, theirs: ProviderInvoice) -> Move:
    """What to do with our invoice. Raises StateMismatch with what differs."""
    claims = (
        ("invoice", ours.invoice_id, theirs.invoice_id),
        ("currency", ours.currency, theirs.currency),
        ("total", ours.total_cents, theirs.total_cents),
        ("statement", ours.statement_sha256, theirs.statement_sha256),
        ("customer", ours.customer_reference, theirs.customer_reference),
    )
    # A draft is still being filled by us: its total is not there yet.
    if theirs.status is not ProviderStatus.DRAFT:
        for name, wanted, found in claims:
            if wanted != found:
                raise StateMismatch(f"{theirs.reference}: {name} is {found!r}, ours is {wanted!r}")
    match theirs.status:
        case ProviderStatus.DRAFT | ProviderStatus.OPEN:
            return Move.NOTHING
        case ProviderStatus.PAID:
            if ours.is_from_credit:
                raise StateMismatch(f"{theirs.reference} is paid, but credit had paid ours: pay one of them back")
            if ours.status is InvoiceStatus.PAID:
                return Move.NOTHING
            if ours.status not in {InvoiceStatus.FINALIZED, InvoiceStatus.UNCOLLECTIBLE}:
                raise StateMismatch(f"{theirs.reference} is paid, but ours is {ours.status}")
            if theirs.paid_cents + theirs.credited_cents < ours.total_cents:
                raise StateMismatch(f"{theirs.reference} is paid with {theirs.paid_cents} of {ours.total_cents} cents")
            return Move.PAID
        case ProviderStatus.VOID:
            may = ours.status in {InvoiceStatus.FINALIZED, InvoiceStatus.UNCOLLECTIBLE}
            if ours.status is InvoiceStatus.PAID and not ours.is_from_credit:
                raise StateMismatch(f"{theirs.reference} is void, but ours is paid")
            return Move.VOID if may else Move.NOTHING
        case ProviderStatus.UNCOLLECTIBLE:
            return Move.UNCOLLECTIBLE if ours.status is InvoiceStatus.FINALIZED else Move.NOTHING


@transaction.atomic
def apply(theirs: ProviderInvoice, *, provider: str, now: dt.datetime) -> Invoice | None:
    """Brings our invoice to the provider's present state; None when it is not one of ours. Raises StateMismatch."""
    found = Invoice.objects.select_for_update(of=("self",)).filter(pk=theirs.invoice_id, provider=provider)
    invoice = found.select_related("statement").first()
    if invoice is None:
        return None
    if invoice.provider_reference and invoice.provider_reference != theirs.reference:
        raise StateMismatch(f"{theirs.reference} claims to be {invoice.id}, which is {invoice.provider_reference}")
    customers = ProviderCustomer.objects.filter(organization_id=invoice.organization_id, provider=provider)
    ours = Ours(
        invoice_id=invoice.id,
        status=InvoiceStatus(invoice.status),
        currency=invoice.currency,
        total_cents=invoice.total_cents,
        statement_sha256=invoice.statement.sha256,
        customer_reference=customers.values_list("reference", flat=True).first() or "",
        is_from_credit=invoice.status == InvoiceStatus.PAID and settlement.is_from_credit(invoice.pk),
    )
    match decide(ours, theirs):
        case Move.NOTHING:
            pass
        case Move.PAID:
            invoices.settle_paid(invoice=invoice, now=now, reason=f"Paid through {provider}.")
        case Move.VOID:
            invoices.void(invoice=invoice, now=now, reason=f"Voided at {provider}.", is_void_at_provider=True)
        case Move.UNCOLLECTIBLE:
            invoices.give_up(invoice=invoice, now=now, reason=f"Given up by {provider}.")
    # The answer to the call that issued it may have been lost: what was looked up is where it is.
    Invoice.objects.filter(pk=invoice.pk).update(
        checked_at=now, provider_reference=theirs.reference, payment_url=theirs.payment_url[:500]
    )
    return invoice
