"""The port to whoever collects money. The docstrings of the Protocol are its specification; one contract suite
(tests/contracts/test_payment_provider.py) holds every adapter to it.

ProviderError            the call did not do what was asked
├── ProviderUnavailable  nothing is known about the outcome: try again with the same key
│   └── ProviderFailed   it answered that it failed; it may keep that answer for the key
└── ProviderRefused      it will never work as asked: a person has to look
    ├── ReferenceUnknown the provider has no such thing
    └── NotSupported     this provider cannot do such things at all
"""

import datetime as dt
from collections.abc import Iterator
from typing import Protocol

from moorage.billing.payment_records import (
    Capability,
    CreditNoteDocument,
    Customer,
    DocumentLine,
    InvoiceDocument,
    Issued,
    LineKind,
    Page,
    Payment,
    PaymentStatus,
    ProviderDispute,
    ProviderDisputeStatus,
    ProviderEvent,
    ProviderInvoice,
    ProviderRefund,
    ProviderRefundStatus,
    ProviderStatus,
    RefundDocument,
    SavedMethod,
    TopUpDocument,
    UsageReport,
)

__all__ = [
    "Capability",
    "CreditNoteDocument",
    "Customer",
    "DocumentLine",
    "InvoiceDocument",
    "Issued",
    "LineKind",
    "NotSupported",
    "Page",
    "Payment",
    "PaymentProvider",
    "PaymentStatus",
    "ProviderDispute",
    "ProviderDisputeStatus",
    "ProviderError",
    "ProviderEvent",
    "ProviderFailed",
    "ProviderInvoice",
    "ProviderRefund",
    "ProviderRefundStatus",
    "ProviderRefused",
    "ProviderStatus",
    "ProviderUnavailable",
    "ReferenceUnknown",
    "RefundDocument",
    "SavedMethod",
    "TopUpDocument",
    "UsageReport",
]


class ProviderError(Exception):
    """The payment provider did not do what was asked."""

    is_permanent = False


class ProviderUnavailable(ProviderError):
    """The provider did not answer, or was too busy, or failed on its side. Whether it did the work is not known."""


class ProviderFailed(ProviderUnavailable):
    """The provider answered that it failed. It may give the same answer for the same key for a day."""


class ProviderRefused(ProviderError):
    """The provider refused for good; the same request will be refused again."""

    is_permanent = True


class ReferenceUnknown(ProviderRefused):
    """The provider has nothing with this reference."""


class NotSupported(ProviderRefused):
    """This provider cannot do this; its ``capabilities`` say so."""

    def __init__(self, capability: Capability) -> None:
        self.capability = capability
        super().__init__(f"This payment provider has no {capability.replace('_', ' ')}.")


class PaymentProvider(Protocol):
    """Collects money. Every method may raise ProviderUnavailable (try again) and ProviderRefused (never again); what
    is not among its ``capabilities`` raises NotSupported.

    Methods are called outside transactions, may take seconds, and may be called again with the same key after any
    crash: the second call gives what the first gave and does nothing new, however much later it comes.
    """

    @property
    def name(self) -> str:
        """Stored with what it made: ``stripe``, ``transfer``, ``memory``."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beside issuing invoices and taking top-ups."""
        ...

    def ensure_customer(self, customer: Customer, *, idempotency_key: str) -> str:
        """The reference of the customer of this organization, made if there is none yet for this key."""
        ...

    # Invoices.

    def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:
        """Makes the invoice payable, with exactly these lines and this total, and asks the customer to pay it, or
        takes it from the saved method where the document says so.

        There is at most one invoice for ``document.invoice_id`` at the provider, whatever was interrupted before.
        Raises ProviderRefused rather than asking for another amount.
        """
        ...

    def fetch_invoice(self, reference: str) -> ProviderInvoice:
        """The present state, read now. Raises ReferenceUnknown."""
        ...

    def void_invoice(self, reference: str, *, idempotency_key: str) -> None:
        """Nobody can pay it any more. Does nothing for one that is void; raises ProviderRefused for one that is
        paid, and ReferenceUnknown."""
        ...

    def issue_credit_note(self, document: CreditNoteDocument, *, idempotency_key: str) -> str:
        """Takes back a part of an issued invoice; the provider's reference. CREDIT_NOTE. At most one for
        ``document.credit_note_id``. Raises ReferenceUnknown, and ProviderRefused for more than there is."""
        ...

    # The payment method.

    def start_setup(
        self, customer_reference: str, *, currency: str, return_url: str, cancel_url: str, idempotency_key: str
    ) -> Page:
        """A page on which the customer saves a payment method for charges in ``currency``. SAVED_METHOD.
        ``return_url`` is called with the page's reference in its query as ``page``."""
        ...

    def finish_setup(self, reference: str, *, customer_reference: str) -> SavedMethod | None:
        """What was saved on that page, from now on the method that is charged; None as long as nothing was, and for
        the page of another customer. SAVED_METHOD. Raises ReferenceUnknown."""
        ...

    def saved_method(self, customer_reference: str) -> SavedMethod | None:
        """The method that is charged, if there is one. SAVED_METHOD. Raises ReferenceUnknown."""
        ...

    def open_portal(self, customer_reference: str, *, return_url: str) -> str:
        """The address of a page, good for minutes, where the customer sees and changes what the provider keeps.
        PORTAL."""
        ...

    # Top-ups.

    def start_top_up(self, document: TopUpDocument, *, idempotency_key: str) -> Page:
        """A way to pay exactly ``cents`` once: a page (PAYMENT_PAGE), or a reference to write on a bank transfer."""
        ...

    def charge_saved(self, document: TopUpDocument, *, idempotency_key: str) -> Payment:
        """Takes ``cents`` from the saved method without the customer. SAVED_METHOD.

        There is at most one payment for ``document.top_up_id``, whatever was interrupted before. A card that is
        declined is no error: the payment has failed and says why. Raises ProviderRefused without a saved method.
        """
        ...

    def fetch_payment(self, reference: str) -> Payment:
        """The present state of a payment, by its own reference or its page's. Raises ReferenceUnknown."""
        ...

    def refund(self, document: RefundDocument, *, idempotency_key: str) -> ProviderRefund:
        """Pays back a part of a payment. REFUND. At most once for ``document.refund_id``. Raises ReferenceUnknown, and
        ProviderRefused for more than is left of the payment."""
        ...

    def fetch_refund(self, reference: str) -> ProviderRefund:
        """The present state. REFUND. Raises ReferenceUnknown."""
        ...

    def refunds_of(self, reference: str) -> Iterator[ProviderRefund]:
        """Every refund of a payment, by its own reference or that of what was charged for it; nothing for one that is
        not known, and without REFUND."""
        ...

    def refunds_of_invoice(self, reference: str) -> Iterator[ProviderRefund]:
        """Every refund of what was paid of an invoice, those of its credit notes among them; nothing for one that is
        not known, and without REFUND."""
        ...

    def fetch_dispute(self, reference: str) -> ProviderDispute:
        """The present state. DISPUTE. Raises ReferenceUnknown."""
        ...

    # Reading back, for reconciliation; each ordered by nothing in particular, everything made at ``since`` or later.

    def payments_since(self, since: dt.datetime) -> Iterator[Payment]:
        """Every payment, whatever it was for."""
        ...

    def refunds_since(self, since: dt.datetime) -> Iterator[ProviderRefund]:
        """Every refund; nothing without REFUND."""
        ...

    def disputes_since(self, since: dt.datetime) -> Iterator[ProviderDispute]:
        """Every dispute; nothing without DISPUTE."""
        ...

    def invoices_since(self, since: dt.datetime) -> Iterator[ProviderInvoice]:
        """Every invoice with its total."""
        ...

    def events_since(self, since: dt.datetime) -> Iterator[ProviderEvent]:
        """What happened; nothing without EVENTS."""
        ...

    # Usage, for those who want to see it at the provider.

    def push_usage(self, report: UsageReport, *, idempotency_key: str) -> None:
        """Adds to the provider's meter. METER. Within a day the second report with an ``identifier`` adds nothing."""
        ...

    def usage_total(self, customer_reference: str, *, start: dt.datetime, end: dt.datetime) -> int:
        """What the meter has in ``[start, end)``, whole hours, in micro-dollars. METER. It lags by minutes."""
        ...
