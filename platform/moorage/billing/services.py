"""What an administrator does to money, all verbs in one place: invoices (invoice_verbs), credit (credit_verbs), prices
(pricing), trouble with the provider (trouble), and here what another administrator decides. What Moorage does by itself
is in rater, closing, outbox and webhooks.

What moves much money is asked of another administrator first (approvals.py): the verb then answers with the request
that waits, and the deed is done by :func:`approve_request`.
"""

from typing import assert_never

from django.db import transaction

from moorage.accounts.actor import Actor
from moorage.billing import approvals, credit_verbs, invoice_refunds, invoice_verbs, payouts
from moorage.billing.credit_verbs import give_credit, pay_out, refund_credit
from moorage.billing.invoice_verbs import (
    adjust_invoice,
    approve_invoice,
    mark_paid,
    mark_uncollectible,
    said_of,
    send_back,
    void_invoice,
)
from moorage.billing.models import ApprovalKind, ApprovalRequest, ApprovalStatus, Invoice
from moorage.billing.pricing import ensure_default_prices, seed_prices, set_price
from moorage.billing.trouble import give_up_message, give_up_webhook, retry_message, retry_webhook

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
    "pay_out",
    "refund_credit",
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
def approve_request(*, request_id: str, by: Actor, reason: str = "") -> ApprovalRequest:
    """Agrees to what another administrator asked for, and does it, once. Raises ApprovalNotFound, ApprovalChanged,
    OwnRequest, and what the deed itself raises: then the request waits as before."""
    because = reason.strip() or "Approved."
    request = approvals.decide(request_id=request_id, to=ApprovalStatus.APPROVED, because=because, by=by)
    said = f"{request.reason} (asked for by {request.requested_by}, approved by {request.decided_by})"
    kind = ApprovalKind(request.kind)
    match kind:
        case ApprovalKind.VOID:
            invoice_verbs.do_void(_invoice_of(request), by, said)
        case ApprovalKind.UNCOLLECTIBLE:
            invoice_verbs.do_give_up(_invoice_of(request), by, said)
        case ApprovalKind.ADJUSTMENT:
            is_paid_back = invoice_refunds.PAID_BACK in request.detail
            do = invoice_refunds.do_book if is_paid_back else invoice_verbs.do_adjust
            do(_invoice_of(request), by, said, request.detail)
        case ApprovalKind.CREDIT:
            credit_verbs.do_credit(request.organization, int(request.amount_pico), by, said, request.detail)
        case ApprovalKind.REFUND:
            credit_verbs.do_refund(request.organization, by, said, request.detail)
        case ApprovalKind.PAYOUT:
            payouts.record(note=payouts.one(str(request.detail["key"])), by=by, reason=said)
        case _:
            assert_never(kind)
    return request


@transaction.atomic
def refuse_request(*, request_id: str, by: Actor, reason: str) -> ApprovalRequest:
    """Does not agree; nothing is done. Raises ReasonMissing, ApprovalNotFound, ApprovalChanged, OwnRequest."""
    said = said_of(reason)
    return approvals.decide(request_id=request_id, to=ApprovalStatus.REFUSED, because=said, by=by)


@transaction.atomic
def withdraw_request(*, request_id: str, by: Actor, reason: str = "") -> ApprovalRequest:
    """Whoever asked takes it back. Raises ApprovalNotFound, ApprovalChanged, OwnRequest for anybody else."""
    because = reason.strip() or "Taken back."
    return approvals.decide(request_id=request_id, to=ApprovalStatus.WITHDRAWN, because=because, by=by)


def _invoice_of(request: ApprovalRequest) -> Invoice:
    return Invoice.objects.select_related("organization").get(pk=request.invoice_id)
