"""What customers, their banks, and people at the provider do, at the provider that lives in this process."""

import dataclasses
from typing import Final

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
from moorage.kernel import clock

#: The last digits of a card that saves well and then declines every charge.
DECLINED: Final = "0341"


class MemoryHands:
    """The other side of MemoryProvider, on the same dictionaries."""

    _invoices: dict[str, ProviderInvoice]
    _methods: dict[str, SavedMethod]
    _payments: dict[str, Payment]
    _invoice_payments: dict[str, Payment]
    _refunds: dict[str, ProviderRefund]
    _disputes: dict[str, ProviderDispute]

    def fetch_invoice(self, reference: str) -> ProviderInvoice:
        """See the port."""
        raise NotImplementedError

    def fetch_dispute(self, reference: str) -> ProviderDispute:
        """See the port."""
        raise NotImplementedError

    def _known(self, customer_reference: str) -> str:
        raise NotImplementedError

    def pay(self, reference: str) -> None:
        """The customer pays an invoice or a top-up."""
        if reference in self._payments:
            payment = self._payments[reference]
            self._payments[reference] = dataclasses.replace(
                payment, status=PaymentStatus.PAID, paid_cents=payment.cents, reason=""
            )
            return
        known = self.fetch_invoice(reference)
        assert known.status in {ProviderStatus.OPEN, ProviderStatus.UNCOLLECTIBLE}
        self._invoices[reference] = dataclasses.replace(
            known, status=ProviderStatus.PAID, paid_cents=known.total_cents - known.credited_cents
        )
        paid = self._invoices[reference]
        self._invoice_payments[reference] = Payment(
            reference=f"mem_pay_{reference}",
            checkout_reference="",
            status=PaymentStatus.PAID,
            currency=paid.currency,
            cents=paid.paid_cents,
            paid_cents=paid.paid_cents,
            refunded_cents=0,
            customer_reference=paid.customer_reference,
            top_up_id="",
            created_at=clock.now(),
        )

    def give_up(self, reference: str) -> None:
        """The provider no longer expects the money."""
        known = self.fetch_invoice(reference)
        self._invoices[reference] = dataclasses.replace(known, status=ProviderStatus.UNCOLLECTIBLE)

    def save_card(self, customer_reference: str, *, last4: str = "4242") -> None:
        """The customer saves a card."""
        self._methods[self._known(customer_reference)] = SavedMethod(
            reference=f"mem_card_{last4}",
            customer_reference=customer_reference,
            brand="visa",
            last4=last4,
            expires="2030-12",
        )

    def dispute(self, reference: str, *, cents: int | None = None) -> str:
        """The customer's bank takes a payment back, of a top-up or of an invoice; the dispute's reference."""
        dispute = f"mem_dispute_{reference}"
        payment, invoice = self._payments.get(reference), self._invoices.get(reference)
        paid = payment or invoice
        assert paid is not None
        self._disputes[dispute] = ProviderDispute(
            reference=dispute,
            status=ProviderDisputeStatus.OPEN,
            reason="fraudulent",
            currency=paid.currency,
            cents=cents or paid.paid_cents,
            payment_reference=reference if payment else self._invoice_payments[reference].reference,
            top_up_id=payment.top_up_id if payment else "",
            invoice_id=invoice.invoice_id if invoice else "",
            created_at=clock.now(),
        )
        return dispute

    def close_dispute(self, reference: str, status: ProviderDisputeStatus) -> None:
        """The banks have decided."""
        self._disputes[reference] = dataclasses.replace(self.fetch_dispute(reference), status=status)

    def refund_by_hand(self, payment_reference: str, cents: int) -> ProviderRefund:
        """Somebody pays a payment back at the provider, past us; of an invoice, by the invoice's own reference."""
        reference = f"mem_by_hand_{len(self._refunds) + 1}"
        paid = self._payments.get(payment_reference) or self._invoice_payments[payment_reference]
        return self._keep_refund(reference, paid, cents, refund_id="")

    def _keep_refund(self, reference: str, payment: Payment, cents: int, *, refund_id: str) -> ProviderRefund:
        paid = dataclasses.replace(payment, refunded_cents=payment.refunded_cents + cents)
        for kept in (self._payments, self._invoice_payments):
            kept.update({key: paid for key, one in kept.items() if one.reference == payment.reference})
        self._refunds[reference] = ProviderRefund(
            reference=reference,
            status=ProviderRefundStatus.SUCCEEDED,
            currency=payment.currency,
            cents=cents,
            payment_reference=payment.reference,
            refund_id=refund_id,
            created_at=clock.now(),
        )
        return self._refunds[reference]
