"""The port to whoever collects money. The docstrings of the Protocol are its specification; one contract suite
(tests/contracts/test_payment_provider.py) holds every adapter to it.

ProviderError            the call did not do what was asked
├── ProviderUnavailable  nothing is known about the outcome: try again with the same key
└── ProviderRefused      it will never work as asked: a person has to look
    └── ReferenceUnknown the provider has no such invoice
"""

import dataclasses
import enum
from typing import Protocol


class ProviderError(Exception):
    """The payment provider did not do what was asked."""

    is_permanent = False


class ProviderUnavailable(ProviderError):
    """The provider did not answer, or was too busy, or failed on its side. Whether it did the work is not known."""


class ProviderRefused(ProviderError):
    """The provider refused for good; the same request will be refused again."""

    is_permanent = True


class ReferenceUnknown(ProviderRefused):
    """The provider has no invoice with this reference."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Whom the provider bills."""

    organization_id: str
    name: str
    #: Where the provider writes to; empty where it is not known.
    email: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLine:
    """One line of an invoice in whole cents."""

    description: str
    amount_cents: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDocument:
    """A finalized invoice, ready to be collected. The lines add up to the total, which is above zero."""

    invoice_id: str
    number: str
    customer_reference: str
    currency: str
    total_cents: int
    lines: tuple[DocumentLine, ...]
    statement_sha256: str
    period: str
    due_days: int

    def __post_init__(self) -> None:
        assert self.total_cents > 0, "nothing is collected for nothing"
        assert sum(line.amount_cents for line in self.lines) == self.total_cents, "lines add up to the total"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """Where the invoice is at the provider, and where the customer pays it (empty: no page, by bank transfer)."""

    reference: str
    payment_url: str


class ProviderStatus(enum.StrEnum):
    """An invoice as the provider sees it."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInvoice:
    """The present state of an invoice at the provider, with what it claims to be about."""

    reference: str
    status: ProviderStatus
    currency: str
    total_cents: int
    paid_cents: int
    payment_url: str
    customer_reference: str
    #: Our invoice's id and our statement's hash, as they were given with it; empty for a stranger's.
    invoice_id: str
    statement_sha256: str


class PaymentProvider(Protocol):
    """Collects invoices. Every method may raise ProviderUnavailable (try again) and ProviderRefused (never again).

    Methods are called outside transactions, may take seconds, and may be called again with the same key after any
    crash: the second call gives what the first gave and does nothing new, however much later it comes.
    """

    @property
    def name(self) -> str:
        """Stored with what it made: ``stripe``, ``transfer``, ``memory``."""
        ...

    def ensure_customer(self, customer: Customer, *, idempotency_key: str) -> str:
        """The reference of the customer of this organization, made if there is none yet for this key."""
        ...

    def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:
        """Makes the invoice payable, with exactly these lines and this total, and asks the customer to pay it.

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
