"""A payment provider that lives in this process: for tests, and the shortest reading of the port."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import TypeVar

from moorage.billing.payments import (
    Capability,
    CreditNoteDocument,
    Customer,
    InvoiceDocument,
    Issued,
    Page,
    Payment,
    PaymentStatus,
    ProviderDispute,
    ProviderEvent,
    ProviderInvoice,
    ProviderRefund,
    ProviderRefused,
    ProviderStatus,
    ReferenceUnknown,
    RefundDocument,
    SavedMethod,
    TopUpDocument,
    UsageReport,
)
from moorage.billing.payments_memory_hands import DECLINED, MemoryHands
from moorage.kernel import clock

_Kept = TypeVar("_Kept")


class MemoryProvider(MemoryHands):
    """Keeps everything in dictionaries. What customers and banks do is in payments_memory_hands.py."""

    def __init__(self, name: str = "memory", *, has_meter: bool = False) -> None:
        self.name = name
        #: As at Stripe, usage is exported only where somebody has asked for it.
        self.capabilities = frozenset(Capability) - (frozenset() if has_meter else {Capability.METER})
        self._customers: dict[str, str] = {}
        self._invoices: dict[str, ProviderInvoice] = {}
        self._setups: dict[str, str] = {}
        self._methods: dict[str, SavedMethod] = {}
        self._payments: dict[str, Payment] = {}
        #: What paid an invoice, by the invoice's reference.
        self._invoice_payments: dict[str, Payment] = {}
        self._refunds: dict[str, ProviderRefund] = {}
        self._disputes: dict[str, ProviderDispute] = {}
        self._credit_notes: dict[str, CreditNoteDocument] = {}
        self._usage: dict[str, UsageReport] = {}

    def ensure_customer(self, customer: Customer, *, idempotency_key: str) -> str:  # noqa: ARG002
        """See the port."""
        return self._customers.setdefault(customer.organization_id, f"mem_customer_{len(self._customers) + 1}")

    def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:  # noqa: ARG002
        """See the port."""
        reference = f"mem_{document.invoice_id}"
        self._known(document.customer_reference)
        made = ProviderInvoice(
            reference=reference,
            status=ProviderStatus.OPEN,
            currency=document.currency,
            total_cents=document.total_cents,
            paid_cents=0,
            payment_url=f"https://payments.invalid/{reference}",
            customer_reference=document.customer_reference,
            invoice_id=document.invoice_id,
            statement_sha256=document.statement_sha256,
        )
        is_new = reference not in self._invoices
        known = self._invoices.setdefault(reference, made)
        method = self._methods.get(document.customer_reference)
        if is_new and document.is_charged_automatically and method is not None and method.last4 != DECLINED:
            self.pay(reference)
        return Issued(reference=reference, payment_url=known.payment_url)

    def fetch_invoice(self, reference: str) -> ProviderInvoice:
        """See the port."""
        return _found(self._invoices, reference)

    def void_invoice(self, reference: str, *, idempotency_key: str) -> None:  # noqa: ARG002
        """See the port."""
        known = self.fetch_invoice(reference)
        if known.status is ProviderStatus.PAID:
            raise ProviderRefused("It is paid.")
        self._invoices[reference] = dataclasses.replace(known, status=ProviderStatus.VOID)

    def issue_credit_note(self, document: CreditNoteDocument, *, idempotency_key: str) -> str:  # noqa: ARG002
        """See the port."""
        invoice = self.fetch_invoice(document.invoice_reference)
        reference = f"mem_{document.credit_note_id}"
        if reference in self._credit_notes:
            return reference
        notes = [one for one in self._credit_notes.values() if one.invoice_reference == invoice.reference]
        if sum(one.owed_cents + one.refund_cents for one in [*notes, document]) > invoice.total_cents:
            raise ProviderRefused("That is more than the invoice.")
        self._credit_notes[reference] = document
        self._invoices[invoice.reference] = dataclasses.replace(
            invoice, credited_cents=invoice.credited_cents + document.owed_cents
        )
        if document.refund_cents:
            self._keep_refund(
                f"mem_refund_{document.credit_note_id}",
                self._invoice_payments[invoice.reference],
                document.refund_cents,
                refund_id="",
            )
        return reference

    def start_setup(
        self,
        customer_reference: str,
        *,
        currency: str,  # noqa: ARG002
        return_url: str,  # noqa: ARG002
        cancel_url: str,  # noqa: ARG002
        idempotency_key: str,
    ) -> Page:
        """See the port."""
        reference = f"mem_setup_{idempotency_key}"
        self._setups[reference] = self._known(customer_reference)
        return Page(reference=reference, url=f"https://payments.invalid/{reference}")

    def finish_setup(self, reference: str, *, customer_reference: str) -> SavedMethod | None:
        """See the port."""
        is_theirs = _found(self._setups, reference) == customer_reference
        return self._methods.get(customer_reference) if is_theirs else None

    def saved_method(self, customer_reference: str) -> SavedMethod | None:
        """See the port."""
        return self._methods.get(self._known(customer_reference))

    def open_portal(self, customer_reference: str, *, return_url: str) -> str:  # noqa: ARG002
        """See the port."""
        return f"https://payments.invalid/portal/{self._known(customer_reference)}"

    def start_top_up(self, document: TopUpDocument, *, idempotency_key: str) -> Page:  # noqa: ARG002
        """See the port."""
        payment = self._payment(document)
        return Page(reference=payment.reference, url=f"https://payments.invalid/{payment.reference}")

    def charge_saved(self, document: TopUpDocument, *, idempotency_key: str) -> Payment:  # noqa: ARG002
        """See the port."""
        method = self._methods.get(self._known(document.customer_reference))
        if method is None:
            raise ProviderRefused("There is no saved payment method.")
        payment = self._payment(document)
        if payment.status is PaymentStatus.PENDING and method.last4 == DECLINED:
            declined = dataclasses.replace(payment, status=PaymentStatus.FAILED, reason="Your card was declined.")
            self._payments[payment.reference] = declined
        elif payment.status is PaymentStatus.PENDING:
            self.pay(payment.reference)
        return self._payments[payment.reference]

    def fetch_payment(self, reference: str) -> Payment:
        """See the port."""
        return _found(self._payments, reference)

    def refund(self, document: RefundDocument, *, idempotency_key: str) -> ProviderRefund:  # noqa: ARG002
        """See the port."""
        payment = self.fetch_payment(document.payment_reference)
        reference = f"mem_{document.refund_id}"
        if reference in self._refunds:
            return self._refunds[reference]
        if payment.refunded_cents + document.cents > payment.paid_cents:
            raise ProviderRefused("That is more than is left of the payment.")
        return self._keep_refund(reference, payment, document.cents, refund_id=document.refund_id)

    def fetch_refund(self, reference: str) -> ProviderRefund:
        """See the port."""
        return _found(self._refunds, reference)

    def refunds_of(self, reference: str) -> Iterator[ProviderRefund]:
        """See the port."""
        return (one for one in list(self._refunds.values()) if one.payment_reference == reference)

    def refunds_of_invoice(self, reference: str) -> Iterator[ProviderRefund]:
        """See the port."""
        paid = self._invoice_payments.get(reference)
        return self.refunds_of(paid.reference) if paid is not None else iter(())

    def fetch_dispute(self, reference: str) -> ProviderDispute:
        """See the port."""
        return _found(self._disputes, reference)

    def payments_since(self, since: dt.datetime) -> Iterator[Payment]:
        """See the port."""
        every = [*self._payments.values(), *self._invoice_payments.values()]
        return (one for one in every if one.created_at >= since)

    def refunds_since(self, since: dt.datetime) -> Iterator[ProviderRefund]:
        """See the port."""
        return (one for one in self._refunds.values() if one.created_at >= since)

    def disputes_since(self, since: dt.datetime) -> Iterator[ProviderDispute]:
        """See the port."""
        return (one for one in self._disputes.values() if one.created_at >= since)

    def invoices_since(self, since: dt.datetime) -> Iterator[ProviderInvoice]:  # noqa: ARG002
        """See the port."""
        return iter(list(self._invoices.values()))

    def events_since(self, since: dt.datetime) -> Iterator[ProviderEvent]:  # noqa: ARG002
        """See the port."""
        return iter(())

    def push_usage(self, report: UsageReport, *, idempotency_key: str) -> None:  # noqa: ARG002
        """See the port."""
        self._usage.setdefault(report.identifier, report)

    def usage_total(self, customer_reference: str, *, start: dt.datetime, end: dt.datetime) -> int:
        """See the port."""
        mine = (one for one in self._usage.values() if one.customer_reference == customer_reference)
        return sum(one.value_micro for one in mine if start <= one.at < end)

    def _payment(self, document: TopUpDocument) -> Payment:
        reference = f"mem_{document.top_up_id}"
        made = Payment(
            reference=reference,
            checkout_reference=reference,
            status=PaymentStatus.PENDING,
            currency=document.currency,
            cents=document.cents,
            paid_cents=0,
            refunded_cents=0,
            customer_reference=self._known(document.customer_reference),
            top_up_id=document.top_up_id,
            created_at=clock.now(),
        )
        return self._payments.setdefault(reference, made)

    def _known(self, customer_reference: str) -> str:
        if customer_reference not in self._customers.values():
            raise ReferenceUnknown("There is no such customer.")
        return customer_reference


def _found(kept: dict[str, _Kept], reference: str) -> _Kept:
    try:
        return kept[reference]
    except KeyError as error:
        raise ReferenceUnknown(reference) from error
