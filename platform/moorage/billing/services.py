"""What an administrator does to money: prices and invoices. Each verb says who and why, and leaves an audit entry in
its own transaction. What Moorage does by itself is in rater, closing, outbox and webhooks.

What moves much money is asked of another administrator first (approvals.py): the verb then answers with the request
that waits, and the deed is done by :func:`approve_request`.
"""

import datetime as dt
from collections.abc import Mapping
from typing import assert_never

from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing import approvals, credit_notes, invoices, owed, states, wallets
from moorage.billing.approvals import Outcome
from moorage.billing.errors import (
    ApprovalPending,
    InvalidAmount,
    InvalidCredit,
    InvoiceChanged,
    NothingToCredit,
    PaidElsewhere,
    ReasonMissing,
)
from moorage.billing.models import (
    ApprovalKind,
    ApprovalRequest,
    ApprovalStatus,
    GrantKind,
    Invoice,
    InvoiceStatus,
)
from moorage.billing.payments_transfer import TransferProvider
from moorage.billing.pricing import ensure_default_prices, seed_prices, set_price
from moorage.billing.trouble import give_up_message, give_up_webhook, retry_message, retry_webhook
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT, Money

__all__ = [
    "adjust_invoice",
    "approve_invoice",
    "approve_request",
    "ensure_default_prices",
    "give_credit",
    "give_up_message",
    "give_up_webhook",
    "mark_paid",
    "mark_uncollectible",
    "refuse_request",
    "retry_message",
    "retry_webhook",
    "seed_prices",
    "send_back",
    "set_price",
    "void_invoice",
    "withdraw_request",
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
def send_back(*, invoice: Invoice, by: Actor, reason: str) -> None:
    """It stays in review, and says what has to be cleared first. Raises ReasonMissing, InvoiceChanged."""
    said = _said(reason)
    kept = f"Sent back by {by.label}: {said}"
    if not Invoice.objects.filter(pk=invoice.pk, status=InvoiceStatus.IN_REVIEW).update(reason=kept):
        raise InvoiceChanged("Only an invoice in review can be sent back.")
    invoice.reason = kept
    _audit(invoice, by, "invoice.sent_back", said)


@transaction.atomic
def void_invoice(*, invoice: Invoice, by: Actor, reason: str) -> Outcome:
    """The invoice is not owed; the provider is told. Raises ReasonMissing, ApprovalPending, and InvoiceChanged for one
    that is paid or void."""
    said = _said(reason)
    _require_move(invoice, InvoiceStatus.VOID)
    waits = _asked(ApprovalKind.VOID, invoice, by, said)
    if waits is not None:
        return Outcome(request=waits)
    _void(invoice, by, said)
    return Outcome()


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
def mark_uncollectible(*, invoice: Invoice, by: Actor, reason: str) -> Outcome:
    """Nobody expects the money any more; should it come, it is still taken. Raises ReasonMissing, ApprovalPending,
    InvoiceChanged."""
    said = _said(reason)
    _require_move(invoice, InvoiceStatus.UNCOLLECTIBLE)
    waits = _asked(ApprovalKind.UNCOLLECTIBLE, invoice, by, said)
    if waits is not None:
        return Outcome(request=waits)
    _give_up(invoice, by, said)
    return Outcome()


@transaction.atomic
def adjust_invoice(
    *, invoice: Invoice, by: Actor, reason: str, amount_cents: int | None = None, is_to_wallet: bool = False
) -> Outcome:
    """Takes back ``amount_cents`` before tax of a finalized invoice, or all that is left of it, by a credit note.

    ``is_to_wallet``: what was paid already becomes the organization's credit instead of a refund. Raises ReasonMissing,
    NothingToCredit, InvalidCredit, ApprovalPending.
    """
    said = _said(reason)
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
    _adjust(invoice, by, said, detail)
    return Outcome()


@transaction.atomic
def give_credit(
    *,
    organization: Organization,
    pico: int,
    by: Actor,
    reason: str,
    key: str,
    expires_at: dt.datetime | None = None,
) -> Outcome:
    """Promotional credit for an organization, at our expense; once for each ``key`` of the caller's.

    Raises ReasonMissing, InvalidAmount, and ApprovalPending for a key that waits already.
    """
    said = _said(reason)
    if pico <= 0 or (expires_at is not None and expires_at <= clock.now()):
        raise InvalidAmount(param="amount" if pico <= 0 else "expires_at")
    detail: dict[str, object] = {"key": key[:80], "expires_at": expires_at.isoformat() if expires_at else ""}
    if approvals.needs_another(pico, threshold_pico=approvals.threshold_pico()):
        known = approvals.requests().filter(kind=ApprovalKind.CREDIT, organization=organization, detail__key=key[:80])
        if known.exists():
            raise ApprovalPending
        return Outcome(
            request=approvals.ask(
                kind=ApprovalKind.CREDIT,
                organization=organization,
                amount_pico=pico,
                reason=said,
                detail=detail,
                by=by,
            )
        )
    _credit(organization, pico, by, said, detail)
    return Outcome()


@transaction.atomic
def approve_request(*, request_id: str, by: Actor, reason: str = "") -> ApprovalRequest:
    """Agrees to what another administrator asked for, and does it, once. Raises ApprovalNotFound, ApprovalChanged,
    OwnRequest, and what the deed itself raises: then the request waits as before."""
    because = reason.strip() or "Approved."
    request = approvals.decide(request_id=request_id, to=ApprovalStatus.APPROVED, because=because, by=by)
    said = f"{request.reason} (asked for by {request.requested_by}, approved by {request.decided_by})"
    kind = ApprovalKind(request.kind)
    match kind:
        case ApprovalKind.VOID:
            _void(_invoice_of(request), by, said)
        case ApprovalKind.UNCOLLECTIBLE:
            _give_up(_invoice_of(request), by, said)
        case ApprovalKind.ADJUSTMENT:
            _adjust(_invoice_of(request), by, said, request.detail)
        case ApprovalKind.CREDIT:
            _credit(request.organization, int(request.amount_pico), by, said, request.detail)
        case _:
            assert_never(kind)
    return request


@transaction.atomic
def refuse_request(*, request_id: str, by: Actor, reason: str) -> ApprovalRequest:
    """Does not agree; nothing is done. Raises ReasonMissing, ApprovalNotFound, ApprovalChanged, OwnRequest."""
    said = _said(reason)
    return approvals.decide(request_id=request_id, to=ApprovalStatus.REFUSED, because=said, by=by)


@transaction.atomic
def withdraw_request(*, request_id: str, by: Actor, reason: str = "") -> ApprovalRequest:
    """Whoever asked takes it back. Raises ApprovalNotFound, ApprovalChanged, OwnRequest for anybody else."""
    because = reason.strip() or "Taken back."
    return approvals.decide(request_id=request_id, to=ApprovalStatus.WITHDRAWN, because=because, by=by)


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
    amount = invoice.total_cents * PICO_PER_CENT if amount_pico is None else amount_pico
    if not approvals.needs_another(amount, threshold_pico=approvals.threshold_pico()):
        return None
    return approvals.ask(
        kind=kind,
        organization=invoice.organization,
        invoice=invoice,
        amount_pico=amount,
        reason=reason,
        detail=detail,
        by=by,
    )


def _require_move(invoice: Invoice, to: InvoiceStatus) -> None:
    """Nobody is asked to agree to what cannot be done. Raises InvoiceChanged."""
    if not states.may_move(invoice.status, to):
        raise InvoiceChanged(
            f"An invoice that is {InvoiceStatus(invoice.status).label.lower()} cannot become {to.label.lower()}."
        )


def _invoice_of(request: ApprovalRequest) -> Invoice:
    return Invoice.objects.select_related("organization").get(pk=request.invoice_id)


def _void(invoice: Invoice, by: Actor, said: str) -> None:
    invoices.void(invoice=invoice, now=clock.now(), reason=said)
    _audit(invoice, by, "invoice.voided", said)


def _adjust(invoice: Invoice, by: Actor, said: str, detail: Mapping[str, object]) -> None:
    cents = detail["amount_cents"]
    note = credit_notes.issue(
        invoice=invoice,
        reason=said,
        by=by,
        amount_cents=cents if isinstance(cents, int) else None,
        is_to_wallet=detail["is_to_wallet"] is True,
    )
    _audit(invoice, by, "invoice.adjusted", f"{credit_notes.number_text(note)}: {said}")


def _credit(organization: Organization, pico: int, by: Actor, said: str, detail: Mapping[str, object]) -> None:
    until = str(detail["expires_at"])
    granted = wallets.grant(
        organization=organization,
        kind=GrantKind.PROMOTIONAL,
        pico=pico,
        expires_at=dt.datetime.fromisoformat(until) if until else None,
        source=f"credit:{organization.pk}:{detail['key']}",
        by=by,
    )
    audit.record(
        organization=organization,
        by=by,
        action="credit.given",
        subject=granted.pk,
        detail={"reason": said, "amount": str(Money(pico))},
    )


def _give_up(invoice: Invoice, by: Actor, said: str) -> None:
    invoices.give_up(invoice=invoice, now=clock.now(), reason=said)
    _audit(invoice, by, "invoice.uncollectible", said)


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
