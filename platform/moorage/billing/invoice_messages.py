"""What the outbox sends about invoices and credit notes."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from django.db import transaction

from moorage.billing import credit_notes, customers, invoices, ledger, meter_export
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import CreditNote, Invoice, InvoiceLine, InvoiceStatus, InvoiceTaxLine, OutboxMessage
from moorage.billing.payments import (
    Capability,
    CreditNoteDocument,
    DocumentLine,
    InvoiceDocument,
    Issued,
    LineKind,
    PaymentProvider,
    ProviderUnavailable,
)
from moorage.billing.top_up_messages import provider_named
from moorage.kernel.clock import Period
from moorage.kernel.money import PICO_PER_CENT

ISSUE: Final = invoices.ISSUE
VOID: Final = invoices.VOID
CREDIT_NOTE: Final = credit_notes.TOPIC
DUE_DAYS: Final = invoices.DUE.days
Providers = Mapping[str, PaymentProvider]


def issue(message: OutboxMessage, providers: Providers, now: dt.datetime) -> None:
    """Asks the customer to pay a finalized invoice, once the usage it is for is all with the provider's meter too."""
    invoice = _invoice(message.subject_id)
    if invoice.status != InvoiceStatus.FINALIZED:
        return  # it was voided before anybody outside heard of it
    provider = provider_named(invoice.provider, providers)
    waiting = meter_export.why_unsent(
        organization_id=invoice.organization_id,
        period_start=invoice.statement.period_start,
        provider=provider,
        now=now,
    )
    if waiting:
        raise ProviderUnavailable(waiting)
    reference = customers.reference_of(organization=invoice.organization, provider=provider)
    issued: Issued = provider.issue_invoice(document(invoice, reference), idempotency_key=message.idempotency_key)
    # A webhook may have been faster; what it has stored is the same.
    Invoice.objects.filter(pk=invoice.pk).update(
        provider_reference=issued.reference[:120], payment_url=issued.payment_url[:500]
    )


def void(message: OutboxMessage, providers: Providers, now: dt.datetime) -> None:  # noqa: ARG001
    """Takes an invoice back that went out."""
    invoice = _invoice(message.subject_id)
    provider = provider_named(invoice.provider, providers)
    if _went_out(invoice):
        provider.void_invoice(invoice.provider_reference, idempotency_key=message.idempotency_key)


def credit_note(message: OutboxMessage, providers: Providers, now: dt.datetime) -> None:
    """Takes a part of an invoice back; what the provider gives back of a payment leaves its clearing account. To
    a provider without credit notes nothing is told (ours is the document), nor of what became credit in the wallet."""
    note = CreditNote.objects.select_related("invoice__organization").get(pk=message.subject_id)
    provider = provider_named(note.invoice.provider, providers)
    refund_cents = 0 if note.is_to_wallet else note.refund_cents
    is_heard = note.owed_cents + refund_cents > 0 and Capability.CREDIT_NOTE in provider.capabilities
    if not is_heard or not _went_out(note.invoice):
        return
    reference = provider.issue_credit_note(
        CreditNoteDocument(
            credit_note_id=note.id,
            number=credit_notes.number_text(note),
            invoice_reference=note.invoice.provider_reference,
            currency=note.currency,
            owed_cents=note.owed_cents,
            refund_cents=refund_cents,
            reason=note.reason,
        ),
        idempotency_key=message.idempotency_key,
    )
    with transaction.atomic():
        CreditNote.objects.filter(pk=note.pk).update(provider_reference=reference[:120])
        if refund_cents:
            given_back(note, refund_cents * PICO_PER_CENT, now)


def document(invoice: Invoice, customer_reference: str) -> InvoiceDocument:
    """A finalized invoice as a provider gets it: usage, credit that was applied, tax."""
    usage = InvoiceLine.objects.filter(invoice=invoice).order_by("position")
    tax = InvoiceTaxLine.objects.filter(invoice=invoice).order_by("position")
    return InvoiceDocument(
        invoice_id=invoice.id,
        number=invoices.number_text(invoice),
        customer_reference=customer_reference,
        currency=invoice.currency,
        total_cents=invoice.total_cents,
        lines=(
            *(
                DocumentLine(
                    description=line.description,
                    amount_cents=line.amount_cents,
                    kind=LineKind.CREDIT if line.meter == invoices.CREDIT else LineKind.USAGE,
                )
                for line in usage
            ),
            *(
                DocumentLine(
                    description=invoices.tax_text(line.name, line.basis_points),
                    amount_cents=line.amount_cents,
                    kind=LineKind.TAX,
                )
                for line in tax
            ),
        ),
        statement_sha256=invoice.statement.sha256,
        period=str(Period.containing(invoice.statement.period_start)),
        due_days=DUE_DAYS,
        is_charged_automatically=_is_charged(invoice),
    )


def given_back(note: CreditNote, pico: int, now: dt.datetime) -> None:
    """Posts that ``pico`` of the note went back from where the invoice was paid; once."""
    clearing = Account(f"{note.invoice.provider}_clearing")
    ledger.post(
        kind="credit_note_refund",
        idempotency_key=f"credit_note:{note.pk}:refund",
        entries=[
            Entry(account=Account.RECEIVABLE, organization_id=note.organization_id, pico=pico),
            Entry(account=clearing, organization_id=note.organization_id, pico=-pico),
        ],
        effective_at=now,
        currency=note.currency,
    )


def _is_charged(invoice: Invoice) -> bool:
    how = customers.collection_of(invoice.organization)
    return how.is_charged_automatically and bool(how.method_reference)


def _invoice(invoice_id: str) -> Invoice:
    return Invoice.objects.select_related("statement", "organization").get(pk=invoice_id)


def _went_out(invoice: Invoice) -> bool:
    if invoice.provider_reference:
        return True
    issuing = OutboxMessage.objects.filter(topic=ISSUE, subject_id=invoice.pk, sent_at=None)
    if issuing.exists():
        raise ProviderUnavailable("The invoice is still being issued.")
    return False
