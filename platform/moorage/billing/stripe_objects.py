"""Stripe's objects in our words. Pure: what it reads are attributes, so the SDK is not needed here."""

import datetime as dt
from typing import Any, Final

from moorage.billing.payments import (
    Payment,
    PaymentStatus,
    ProviderDispute,
    ProviderDisputeStatus,
    ProviderInvoice,
    ProviderRefund,
    ProviderRefundStatus,
    ProviderStatus,
    SavedMethod,
)

#: Metadata by which our things are known there.
INVOICE: Final = "moorage_invoice"
TOP_UP: Final = "moorage_top_up"
REFUND: Final = "moorage_refund"
CREDIT_NOTE: Final = "moorage_credit_note"
ORGANIZATION: Final = "moorage_organization"
#: On a payment that nobody is there to repeat: one that was declined has failed.
OFF_SESSION: Final = "moorage_off_session"

_DISPUTES: Final = {
    "won": ProviderDisputeStatus.WON,
    "warning_closed": ProviderDisputeStatus.WON,
    "prevented": ProviderDisputeStatus.WON,
    "lost": ProviderDisputeStatus.LOST,
}
_REFUNDS: Final = {
    "succeeded": ProviderRefundStatus.SUCCEEDED,
    "failed": ProviderRefundStatus.FAILED,
    "canceled": ProviderRefundStatus.FAILED,
}


def invoice(found: Any) -> ProviderInvoice:
    """An invoice."""
    return ProviderInvoice(
        reference=str(found.id),
        status=ProviderStatus(found.status or "draft"),
        currency=found.currency.upper(),
        total_cents=found.total,
        paid_cents=found.amount_paid,
        payment_url=found.hosted_invoice_url or "",
        customer_reference=reference(found.customer),
        invoice_id=metadata(found, INVOICE),
        statement_sha256=metadata(found, "statement_sha256"),
        credited_cents=getattr(found, "pre_payment_credit_notes_amount", 0) or 0,
    )


def payment(intent: Any, *, checkout_reference: str = "") -> Payment:
    """A PaymentIntent whose ``latest_charge`` is expanded."""
    charge = intent.latest_charge
    error = intent.last_payment_error
    is_off_session = metadata(intent, OFF_SESSION) == "yes"
    match intent.status:
        case "succeeded":
            status = PaymentStatus.PAID
        case "canceled":
            status = PaymentStatus.EXPIRED
        case "requires_payment_method" | "requires_action" | "requires_confirmation" if is_off_session:
            status = PaymentStatus.FAILED
        case _:
            status = PaymentStatus.PENDING
    reason = getattr(error, "message", "") or "" if error is not None else ""
    return Payment(
        reference=str(intent.id),
        checkout_reference=checkout_reference,
        status=status,
        currency=intent.currency.upper(),
        cents=intent.amount,
        paid_cents=intent.amount_received or 0,
        refunded_cents=getattr(charge, "amount_refunded", 0) or 0,
        customer_reference=reference(intent.customer),
        top_up_id=metadata(intent, TOP_UP),
        created_at=moment(intent.created),
        reason=reason if status is PaymentStatus.FAILED else "",
    )


def checkout(session: Any) -> Payment:
    """A Checkout session in payment mode whose ``payment_intent`` and its charge are expanded."""
    intent = session.payment_intent
    if intent is not None and not isinstance(intent, str):
        return payment(intent, checkout_reference=str(session.id))
    return Payment(
        reference="",
        checkout_reference=str(session.id),
        status=PaymentStatus.EXPIRED if session.status == "expired" else PaymentStatus.PENDING,
        currency=(session.currency or "").upper(),
        cents=session.amount_total or 0,
        paid_cents=0,
        refunded_cents=0,
        customer_reference=reference(session.customer),
        top_up_id=metadata(session, TOP_UP),
        created_at=moment(session.created),
    )


def refund(found: Any) -> ProviderRefund:
    """A refund."""
    return ProviderRefund(
        reference=str(found.id),
        status=_REFUNDS.get(found.status or "", ProviderRefundStatus.PENDING),
        currency=found.currency.upper(),
        cents=found.amount,
        payment_reference=reference(found.payment_intent),
        refund_id=metadata(found, REFUND),
        created_at=moment(found.created),
    )


def dispute(found: Any, *, invoice_id: str) -> ProviderDispute:
    """A dispute whose ``payment_intent`` is expanded."""
    intent = found.payment_intent
    return ProviderDispute(
        reference=str(found.id),
        status=_DISPUTES.get(found.status, ProviderDisputeStatus.OPEN),
        reason=found.reason or "",
        currency=found.currency.upper(),
        cents=found.amount,
        payment_reference=reference(intent),
        top_up_id=metadata(intent, TOP_UP) if intent is not None and not isinstance(intent, str) else "",
        invoice_id=invoice_id,
        created_at=moment(found.created),
    )


def saved_method(method: Any, customer_reference: str) -> SavedMethod:
    """A PaymentMethod."""
    card = getattr(method, "card", None)
    details = card or getattr(method, method.type, None)
    return SavedMethod(
        reference=str(method.id),
        customer_reference=customer_reference,
        brand=str(card.brand if card else method.type),
        last4=str(getattr(details, "last4", "") or ""),
        expires=f"{card.exp_year:04d}-{card.exp_month:02d}" if card else "",
    )


def reference(found: object) -> str:
    """The id of something that may be expanded; empty for none."""
    return found if isinstance(found, str) else str(getattr(found, "id", "") or "")


def metadata(found: Any, name: str) -> str:
    """One value of its metadata, or empty."""
    values: Any = found.metadata
    values = values if isinstance(values, dict) else values.to_dict() if values is not None else {}
    return str(values.get(name, ""))


def moment(seconds: int) -> dt.datetime:
    """Unix seconds as a moment."""
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)


def seconds(at: dt.datetime) -> int:
    """A moment as whole Unix seconds."""
    return (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1)
