"""Refunds of an invoice's payment that somebody made at the provider, past us. The money is gone, and reconciliation
(R6) finds that the clearing account still has it. A person says what it was: a credit note (what was charged is taken
back, with its tax) or our loss (the bill stands). Nothing is told to the provider, which has paid already.

What is not booked yet is always reckoned anew: what the provider has paid back of the invoice, less its credit notes,
less the losses. So it is booked once, whoever presses first and however often.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Final

from django.db import transaction
from django.db.models import QuerySet, Sum

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.billing import approvals, credit_notes, invoice_messages, invoices, ledger, providers
from moorage.billing.approvals import Outcome
from moorage.billing.errors import ApprovalPending, NothingToBook, ProviderAway
from moorage.billing.invoice_verbs import said_of
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import (
    ApprovalKind,
    ApprovalStatus,
    CreditNote,
    Invoice,
    InvoiceStatus,
    LedgerEntry,
)
from moorage.billing.payments import Capability, PaymentProvider, ProviderError, ProviderRefundStatus
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT

#: In an approval's detail: all that the provider had paid back of the invoice when it was asked for.
PAID_BACK: Final = "paid_back_cents"


class BookedAs(enum.StrEnum):
    """What a refund was."""

    CREDIT_NOTE = "credit_note"
    LOSS = "loss"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unbooked:
    """Money of an invoice that went back at the provider, and that nobody has booked."""

    invoice: Invoice
    cents: int
    #: The provider's refunds of the invoice, all of them.
    references: tuple[str, ...]


def unbooked(invoice: Invoice, provider: PaymentProvider) -> Unbooked | None:
    """What the provider has paid back of the invoice and nobody has booked. Asks the provider: never call it inside a
    transaction. Raises ProviderError."""
    paid_back, references = _paid_back(invoice, provider)
    cents = paid_back - booked_cents(invoice)
    return Unbooked(invoice=invoice, cents=cents, references=references) if cents > 0 else None


def unbooked_of(*, organization_id: str, provider: PaymentProvider) -> tuple[Unbooked, ...]:
    """The same of an organization's hundred newest paid invoices. Raises ProviderError."""
    paid = Invoice.objects.filter(organization_id=organization_id, provider=provider.name, status=InvoiceStatus.PAID)
    newest = paid.exclude(provider_reference="").select_related("organization").order_by("-paid_at")[:100]
    return tuple(found for one in newest if (found := unbooked(one, provider)) is not None)


def booked_cents(invoice: Invoice) -> int:
    """What was, or is on its way to be, given back of it through the provider: by credit notes, and as losses."""
    notes = CreditNote.objects.filter(invoice_id=invoice.pk, is_to_wallet=False)
    noted = int(notes.aggregate(sum=Sum("refund_cents"))["sum"] or 0)
    lost = _losses(invoice).aggregate(sum=Sum("amount_pico"))["sum"] or 0
    return noted + int(lost) // PICO_PER_CENT


def book(
    *,
    invoice: Invoice,
    booked_as: BookedAs,
    by: Actor,
    reason: str,
    available: Mapping[str, PaymentProvider] | None = None,
) -> Outcome:
    """Books what the provider has paid back of the invoice and nobody has booked. A second call books nothing more, and
    hears NothingToBook. So much money asks for another administrator first.

    Raises ReasonMissing, NothingToBook, ApprovalPending, ProviderAway, and for a credit note NothingToCredit and
    InvalidCredit where it does not fit the invoice: what does not can be booked as a loss.
    """
    said = said_of(reason)
    provider = (providers.configured() if available is None else available).get(invoice.provider)
    if provider is None or Capability.REFUND not in provider.capabilities:
        raise NothingToBook
    try:
        paid_back, _ = _paid_back(invoice, provider)
    except ProviderError as error:
        raise ProviderAway from error
    detail: dict[str, object] = {PAID_BACK: paid_back, "booked_as": str(booked_as)}
    with transaction.atomic():
        cents = paid_back - booked_cents(invoice)
        if cents <= 0:
            raise NothingToBook
        if _is_asked(invoice):
            raise ApprovalPending
        waits = approvals.alone_or_asked(
            kind=ApprovalKind.ADJUSTMENT,
            organization=invoice.organization,
            invoice=invoice,
            amount_pico=cents * PICO_PER_CENT,
            reason=said,
            detail=detail,
            key=f"paid_back:{invoice.pk}:{paid_back}",
            by=by,
        )
        if waits is not None:
            return Outcome(request=waits)
        do_book(invoice, by, said, detail)
    return Outcome()


def do_book(invoice: Invoice, by: Actor, said: str, detail: Mapping[str, object]) -> None:
    """Books it, once nobody else has to agree; inside the caller's transaction. Raises as :func:`book`."""
    locked = Invoice.objects.select_for_update(of=("self",)).select_related("organization").get(pk=invoice.pk)
    paid_back, booked_as = detail[PAID_BACK], BookedAs(str(detail["booked_as"]))
    assert isinstance(paid_back, int)
    cents = paid_back - booked_cents(locked)
    if cents <= 0:
        raise NothingToBook
    if booked_as is BookedAs.CREDIT_NOTE:
        note = credit_notes.issue(invoice=locked, reason=said, by=by, total_cents=cents, is_paid_back=True)
        invoice_messages.given_back(note, cents * PICO_PER_CENT, clock.now())
    else:
        _lose(locked, cents, paid_back)
    audit.record(
        organization=locked.organization,
        by=by,
        action="invoice.refund_booked",
        subject=locked.pk,
        detail={
            "reason": said,
            "number": invoices.number_text(locked),
            "cents": cents,
            "booked_as": str(booked_as),
        },
    )


def _paid_back(invoice: Invoice, provider: PaymentProvider) -> tuple[int, tuple[str, ...]]:
    if not invoice.provider_reference:
        return 0, ()
    there = [
        one
        for one in provider.refunds_of_invoice(invoice.provider_reference)
        if one.status is ProviderRefundStatus.SUCCEEDED and one.currency == invoice.currency
    ]
    return sum(one.cents for one in there), tuple(one.reference for one in there)


def _is_asked(invoice: Invoice) -> bool:
    waiting = approvals.requests().filter(status=ApprovalStatus.WAITING, invoice_id=invoice.pk)
    return waiting.filter(detail__has_key=PAID_BACK).exists()


def _losses(invoice: Invoice) -> QuerySet[LedgerEntry]:
    return LedgerEntry.objects.filter(
        transaction__idempotency_key__startswith=f"paid_back:{invoice.pk}:", account__kind=str(Account.ADJUSTMENT)
    )


def _lose(invoice: Invoice, cents: int, paid_back: int) -> None:
    pico, clearing = cents * PICO_PER_CENT, Account(f"{invoice.provider}_clearing")
    ledger.post(
        kind="invoice_refund_loss",
        idempotency_key=f"paid_back:{invoice.pk}:{paid_back}",
        entries=[
            Entry(account=Account.ADJUSTMENT, organization_id=invoice.organization_id, pico=pico),
            Entry(account=clearing, organization_id=invoice.organization_id, pico=-pico),
        ],
        effective_at=clock.now(),
        currency=invoice.currency,
    )
