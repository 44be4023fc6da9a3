"""What an administrator does to money: prices and invoices. Each verb says who and why, and leaves an audit entry in
its own transaction. What Moorage does by itself is in rater, closing, outbox and webhooks."""

import datetime as dt

from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.billing import invoices, states
from moorage.billing.errors import InvoiceChanged, PaidElsewhere, ReasonMissing
from moorage.billing.models import Invoice, InvoiceStatus, OutboxMessage
from moorage.billing.payments_transfer import TransferProvider
from moorage.billing.pricing import ensure_default_prices, seed_prices, set_price
from moorage.kernel import clock

__all__ = [
    "approve_invoice",
    "ensure_default_prices",
    "mark_paid",
    "mark_uncollectible",
    "retry_message",
    "seed_prices",
    "set_price",
    "void_invoice",
]


@transaction.atomic
def approve_invoice(*, invoice: Invoice, by: Actor, reason: str = "") -> None:
    """Lets an invoice out of review: it gets its number and goes to the provider. Raises InvoiceChanged."""
    if invoice.status != InvoiceStatus.IN_REVIEW:
        raise InvoiceChanged("Only an invoice in review can be approved.")
    said = reason.strip() or "Approved."
    invoices.finalize(invoice=invoice, now=clock.now(), reason=said, reviewed_by=by.label)
    _audit(invoice, by, "invoice.approved", said)


@transaction.atomic
def void_invoice(*, invoice: Invoice, by: Actor, reason: str) -> None:
    """The invoice is not owed; the provider is told. Raises ReasonMissing, and InvoiceChanged for one that is paid or
    void."""
    said = _said(reason)
    invoices.void(invoice=invoice, now=clock.now(), reason=said)
    _audit(invoice, by, "invoice.voided", said)


@transaction.atomic
def mark_paid(*, invoice: Invoice, by: Actor, reason: str, received_at: dt.datetime | None = None) -> None:
    """Records that the bank transfer has come; ``reason`` is where that can be read, such as a line of the bank's list.

    Raises ReasonMissing, PaidElsewhere for an invoice that a payment provider collects, and InvoiceChanged.
    """
    said = _said(reason)
    if invoice.provider != TransferProvider.name:
        raise PaidElsewhere
    if not states.may_move(invoice.status, InvoiceStatus.PAID):
        raise InvoiceChanged(f"An invoice that is {InvoiceStatus(invoice.status).label.lower()} cannot be paid.")
    if not invoice.provider_reference:
        raise InvoiceChanged("The invoice is on its way out and has no reference yet. Try again in a minute.")
    now = clock.now()
    TransferProvider().record(invoice.provider_reference, received_at=received_at or now)
    invoices.settle_paid(invoice=invoice, now=now, reason=said)
    _audit(invoice, by, "invoice.paid", said)


@transaction.atomic
def mark_uncollectible(*, invoice: Invoice, by: Actor, reason: str) -> None:
    """Nobody expects the money any more; should it come, it is still taken. Raises ReasonMissing, InvoiceChanged."""
    said = _said(reason)
    invoices.give_up(invoice=invoice, now=clock.now(), reason=said)
    _audit(invoice, by, "invoice.uncollectible", said)


@transaction.atomic
def retry_message(*, message: OutboxMessage, by: Actor) -> None:
    """Sends a parked message again, with its key, once its cause is gone. A second call changes nothing."""
    parked = OutboxMessage.objects.filter(pk=message.pk, sent_at=None, parked_at__isnull=False)
    if parked.update(parked_at=None, next_attempt_at=clock.now()):
        audit.record(
            organization=None,
            by=by,
            action="outbox.retried",
            subject=message.id,
            detail={"topic": message.topic, "about": message.subject_id, "error": message.last_error},
        )


def _said(reason: str) -> str:
    said = reason.strip()
    if not said:
        raise ReasonMissing(param="reason")
    return said[:2000]


def _audit(invoice: Invoice, by: Actor, action: str, reason: str) -> None:
    audit.record(
        organization=invoice.organization,
        by=by,
        action=action,
        subject=invoice.id,
        detail={"reason": reason, "number": invoices.number_text(invoice), "cents": invoice.total_cents},
    )
