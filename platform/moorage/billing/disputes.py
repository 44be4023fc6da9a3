"""Payments that somebody's bank takes back. What follows is decided by the provider's present state, each thing once.

opened   the invoice or top-up is flagged; credit of a top-up is taken back as far as it is unused (to dispute_loss)
lost     clearing → dispute_loss: the money is gone; what was taken back makes the loss smaller
won      the flag goes, the credit is back; what was booked as lost goes back to clearing
"""

import datetime as dt
import logging

from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import MOORAGE
from moorage.billing import ledger, wallets
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import Dispute, DisputeStatus, GrantKind, Invoice, InvoiceStatus, TopUp, TopUpStatus
from moorage.billing.payments import ProviderDispute, ProviderDisputeStatus
from moorage.billing.provider_state import StateMismatch
from moorage.kernel.money import PICO_PER_CENT

logger = logging.getLogger(__name__)


@transaction.atomic
def apply(theirs: ProviderDispute, *, provider: str, now: dt.datetime) -> Dispute | None:
    """Brings our record to the provider's present state; None when the payment was not for us. Raises StateMismatch
    for another currency, for more than was paid, and for what is not paid as far as we know."""
    top_up, invoice = _subject(theirs, provider)
    if top_up is None and invoice is None:
        return None
    subject = top_up or invoice
    assert subject is not None
    ours = Dispute.objects.select_for_update().filter(pk=theirs.reference).first()
    if ours is None:
        ours = Dispute.objects.create(
            id=theirs.reference,
            organization=subject.organization,
            top_up=top_up,
            invoice=invoice,
            provider=provider,
            reason=theirs.reason[:120],
            currency=theirs.currency,
            cents=theirs.cents,
            opened_at=theirs.created_at,
        )
        _open(ours, now)
    elif (ours.currency, ours.cents) != (theirs.currency, theirs.cents):
        raise StateMismatch(f"{theirs.reference} is of {theirs.cents} {theirs.currency}, was of {ours.cents}")
    match theirs.status, DisputeStatus(ours.status):
        case (ProviderDisputeStatus.LOST, DisputeStatus.OPEN):
            _lose(ours, now)
            _close(ours, DisputeStatus.LOST, now)
        case (ProviderDisputeStatus.WON, DisputeStatus.OPEN | DisputeStatus.LOST):
            _win(ours, now)
            _close(ours, DisputeStatus.WON, now)
        case (ProviderDisputeStatus.LOST | ProviderDisputeStatus.OPEN, DisputeStatus.WON):
            raise StateMismatch(f"{theirs.reference} is {theirs.status}, but ours is won")
        case _:
            pass
    Dispute.objects.filter(pk=ours.pk).update(checked_at=now)
    return ours


def _subject(theirs: ProviderDispute, provider: str) -> tuple[TopUp | None, Invoice | None]:
    """The top-up or the invoice whose payment it is about, locked and compared."""
    if theirs.top_up_id:
        top_ups = TopUp.objects.select_for_update(of=("self",)).select_related("organization")
        top_up = top_ups.filter(pk=theirs.top_up_id, provider=provider).first()
        if top_up is None:
            return None, None
        is_paid = top_up.status == TopUpStatus.PAID and top_up.payment_reference == theirs.payment_reference
        _compare(theirs, is_paid=is_paid, currency=top_up.currency, cents=top_up.cents)
        return top_up, None
    invoices = Invoice.objects.select_for_update(of=("self",)).select_related("organization")
    invoice = invoices.filter(pk=theirs.invoice_id, provider=provider).first() if theirs.invoice_id else None
    if invoice is None:
        return None, None
    is_paid = invoice.status == InvoiceStatus.PAID
    _compare(theirs, is_paid=is_paid, currency=invoice.currency, cents=invoice.total_cents)
    return None, invoice


def _compare(theirs: ProviderDispute, *, is_paid: bool, currency: str, cents: int) -> None:
    if not is_paid:
        raise StateMismatch(f"{theirs.reference} disputes {theirs.payment_reference}, which is not paid here")
    if theirs.currency != currency or not 0 < theirs.cents <= cents:
        raise StateMismatch(f"{theirs.reference} is of {theirs.cents} {theirs.currency}, paid were {cents} {currency}")


def _open(ours: Dispute, now: dt.datetime) -> None:
    if ours.top_up is not None:
        TopUp.objects.filter(pk=ours.top_up.pk, disputed_at=None).update(disputed_at=now)
        _revoke(ours)
    elif ours.invoice is not None:
        Invoice.objects.filter(pk=ours.invoice.pk, disputed_at=None).update(disputed_at=now)
    logger.error("dispute_opened dispute=%s organization=%s cents=%d", ours.id, ours.organization_id, ours.cents)
    _note(ours, "dispute.opened")


def _revoke(ours: Dispute) -> int:
    """Takes unused credit back, once; the second call says how much that was."""
    return wallets.revoke(
        organization=ours.organization,
        pico_most=ours.cents * PICO_PER_CENT,
        source=f"dispute:{ours.id}",
        into=Account.DISPUTE_LOSS,
        by=MOORAGE,
    )


def _lose(ours: Dispute, now: dt.datetime) -> None:
    _post(ours, "lost", debit=Account.DISPUTE_LOSS, credit=_clearing(ours), now=now)


def _win(ours: Dispute, now: dt.datetime) -> None:
    if ours.status == DisputeStatus.LOST:
        _post(ours, "won", debit=_clearing(ours), credit=Account.DISPUTE_LOSS, now=now)
    if ours.top_up is not None:
        taken = _revoke(ours)
        if taken:
            wallets.grant(
                organization=ours.organization,
                kind=GrantKind.PAID,
                pico=taken,
                source=f"dispute_won:{ours.id}",
                funded_by=Account.DISPUTE_LOSS,
                by=MOORAGE,
            )
        others = Dispute.objects.filter(top_up=ours.top_up).exclude(status=DisputeStatus.WON).exclude(pk=ours.pk)
        TopUp.objects.filter(pk=ours.top_up.pk).exclude(disputes__in=others).update(disputed_at=None)
    elif ours.invoice is not None:
        others = Dispute.objects.filter(invoice=ours.invoice).exclude(status=DisputeStatus.WON).exclude(pk=ours.pk)
        if not others.exists():
            Invoice.objects.filter(pk=ours.invoice.pk).update(disputed_at=None)


def _close(ours: Dispute, status: DisputeStatus, now: dt.datetime) -> None:
    Dispute.objects.filter(pk=ours.pk).update(status=status, closed_at=now)
    ours.status, ours.closed_at = status, now
    logger.info("dispute_closed dispute=%s status=%s", ours.id, status)
    _note(ours, f"dispute.{status}")


def _clearing(ours: Dispute) -> Account:
    return Account(f"{ours.provider}_clearing")


def _post(ours: Dispute, what: str, *, debit: Account, credit: Account, now: dt.datetime) -> None:
    pico = ours.cents * PICO_PER_CENT
    ledger.post(
        kind=f"dispute_{what}",
        idempotency_key=f"dispute:{ours.id}:{what}",
        entries=[
            Entry(account=debit, organization_id=ours.organization_id, pico=pico),
            Entry(account=credit, organization_id=ours.organization_id, pico=-pico),
        ],
        effective_at=now,
        currency=ours.currency,
    )


def _note(ours: Dispute, action: str) -> None:
    subject = ours.top_up_id or ours.invoice_id or ""
    audit.record(
        organization=ours.organization,
        by=MOORAGE,
        action=action,
        subject=subject,
        detail={"dispute": ours.id, "cents": ours.cents, "reason": ours.reason},
    )
