"""What an administrator does to an invoice. Each verb says who and why, and leaves an audit entry in its own
transaction; what moves much money waits for another administrator first (approvals.py)."""

import datetime as dt
from collections.abc import Mapping

from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.billing import approvals, credit_notes, invoices, owed, states
from moorage.billing.approvals import Outcome
from moorage.billing.errors import InvalidCredit, InvoiceChanged, NothingToCredit, PaidElsewhere, ReasonMissing
from moorage.billing.models import ApprovalKind, ApprovalRequest, Invoice, InvoiceStatus
from moorage.billing.payments_transfer import TransferProvider
from moorage.kernel import clock, ids
from moorage.kernel.money import PICO_PER_CENT


@transaction.atomic
def approve_invoice(*, invoice: Invoice, by: Actor, reason: str = "") -> None:
    """Lets an invoice out of review: it gets its number and goes to the provider. Raises InvoiceChanged."""
    if invoice.status != InvoiceStatus.IN_REVIEW:
        raise InvoiceChanged("Only an invoice in review can be approved.")
    said = reason.strip() or "Approved."
    invoices.finalize(invoice=invoice, now=clock.now(), reason=said, reviewed_by=by.label)
    _audit(invoice, by, "invoice.approved", said)


@transaction.atomic
def send_back(*, invoice: Invoice, by: Actor, reason: str) -> None:
    """It stays in review, and says what has to be cleared first. Raises ReasonMissing, InvoiceChanged."""
    said = said_of(reason)
    kept = f"Sent back by {by.label}: {said}"
    if not Invoice.objects.filter(pk=invoice.pk, status=InvoiceStatus.IN_REVIEW).update(reason=kept):
        raise InvoiceChanged("Only an invoice in review can be sent back.")
    invoice.reason = kept
    _audit(invoice, by, "invoice.sent_back", said)


@transaction.atomic
def void_invoice(*, invoice: Invoice, by: Actor, reason: str) -> Outcome:
    """The invoice is not owed; the provider is told. Raises ReasonMissing, ApprovalPending, and InvoiceChanged for one
    that is paid or void."""
    said = said_of(reason)
    _require_move(invoice, InvoiceStatus.VOID)
    waits = _asked(ApprovalKind.VOID, invoice, by, said)
    if waits is not None:
        return Outcome(request=waits)
    do_void(invoice, by, said)
    return Outcome()


@transaction.atomic
def mark_paid(*, invoice: Invoice, by: Actor, reason: str, received_at: dt.datetime | None = None) -> None:
    """Records that the bank transfer has come; ``reason`` is where that can be read, such as a line of the bank's list.

    Raises ReasonMissing, PaidElsewhere for an invoice that a payment provider collects, and InvoiceChanged.
    """
    said = said_of(reason)
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
def mark_uncollectible(*, invoice: Invoice, by: Actor, reason: str) -> Outcome:
    """Nobody expects the money any more; should it come, it is still taken. Raises ReasonMissing, ApprovalPending,
    InvoiceChanged."""
    said = said_of(reason)
    _require_move(invoice, InvoiceStatus.UNCOLLECTIBLE)
    waits = _asked(ApprovalKind.UNCOLLECTIBLE, invoice, by, said)
    if waits is not None:
        return Outcome(request=waits)
    do_give_up(invoice, by, said)
    return Outcome()


@transaction.atomic
def adjust_invoice(
    *, invoice: Invoice, by: Actor, reason: str, amount_cents: int | None = None, is_to_wallet: bool = False
) -> Outcome:
    """Takes back ``amount_cents`` before tax of a finalized invoice, or all that is left of it, by a credit note.

    ``is_to_wallet``: what was paid already becomes the organization's credit instead of a refund. Raises ReasonMissing,
    NothingToCredit, InvalidCredit, ApprovalPending.
    """
    said = said_of(reason)
    if invoice.number is None or invoice.status == InvoiceStatus.VOID:
        raise NothingToCredit
    left = owed.left_of(invoice)
    if left.total_cents <= 0:
        raise NothingToCredit
    wanted = left.subtotal_cents if amount_cents is None else amount_cents
    if not 0 < wanted <= left.subtotal_cents:
        raise InvalidCredit(param="amount")
    # With its tax, rounded up: what a second person agrees to is never less than what moves.
    moves = -(-wanted * left.total_cents // left.subtotal_cents) * PICO_PER_CENT
    detail: dict[str, object] = {"amount_cents": amount_cents, "is_to_wallet": is_to_wallet}
    waits = _asked(ApprovalKind.ADJUSTMENT, invoice, by, said, amount_pico=moves, detail=detail)
    if waits is not None:
        return Outcome(request=waits)
    do_adjust(invoice, by, said, detail)
    return Outcome()


def _asked(
    kind: ApprovalKind,
    invoice: Invoice,
    by: Actor,
    reason: str,
    *,
    amount_pico: int | None = None,
    detail: dict[str, object] | None = None,
) -> ApprovalRequest | None:
    """The request that waits, where so much money asks for four eyes."""
    return approvals.alone_or_asked(
        kind=kind,
        organization=invoice.organization,
        invoice=invoice,
        amount_pico=invoice.total_cents * PICO_PER_CENT if amount_pico is None else amount_pico,
        reason=reason,
        detail=detail,
        # An invoice is voided or given up once, and adjusted as often as somebody wants.
        key=ids.new("apr") if kind is ApprovalKind.ADJUSTMENT else invoice.pk,
        by=by,
    )


def _require_move(invoice: Invoice, to: InvoiceStatus) -> None:
    """Nobody is asked to agree to what cannot be done. Raises InvoiceChanged."""
    if not states.may_move(invoice.status, to):
        raise InvoiceChanged(
            f"An invoice that is {InvoiceStatus(invoice.status).label.lower()} cannot become {to.label.lower()}."
        )


def do_void(invoice: Invoice, by: Actor, said: str) -> None:
    """Voids it, once nobody else has to agree."""
    invoices.void(invoice=invoice, now=clock.now(), reason=said)
    _audit(invoice, by, "invoice.voided", said)


def do_adjust(invoice: Invoice, by: Actor, said: str, detail: Mapping[str, object]) -> None:
    """Takes back what ``detail`` says, once nobody else has to agree."""
    cents = detail["amount_cents"]
    note = credit_notes.issue(
        invoice=invoice,
        reason=said,
        by=by,
        amount_cents=cents if isinstance(cents, int) else None,
        is_to_wallet=detail["is_to_wallet"] is True,
    )
    _audit(invoice, by, "invoice.adjusted", f"{credit_notes.number_text(note)}: {said}")


def do_give_up(invoice: Invoice, by: Actor, said: str) -> None:
    """Gives it up, once nobody else has to agree."""
    invoices.give_up(invoice=invoice, now=clock.now(), reason=said)
    _audit(invoice, by, "invoice.uncollectible", said)


def _audit(invoice: Invoice, by: Actor, action: str, reason: str) -> None:
    audit.record(
        organization=invoice.organization,
        by=by,
        action=action,
        subject=invoice.id,
        detail={"reason": reason, "number": invoices.number_text(invoice), "cents": invoice.total_cents},
    )


def said_of(reason: str) -> str:
    """What was said, shortened to what is kept. Raises ReasonMissing for nothing."""
    said = reason.strip()
    if not said:
        raise ReasonMissing(param="reason")
    return said[:2000]
