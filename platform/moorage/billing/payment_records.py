"""What crosses the port to a payment provider, in both directions. Amounts are whole cents of ``currency``."""

import dataclasses
import datetime as dt
import enum


class Capability(enum.StrEnum):
    """What a provider may or may not be able to do. Pages and REST offer only what is there."""

    SAVED_METHOD = "saved_method"
    PAYMENT_PAGE = "payment_page"
    PORTAL = "portal"
    REFUND = "refund"
    CREDIT_NOTE = "credit_note"
    DISPUTE = "dispute"
    EVENTS = "events"
    METER = "meter"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """Whom the provider bills."""

    organization_id: str
    name: str
    #: Where the provider writes to; empty where it is not known.
    email: str


class LineKind(enum.StrEnum):
    """What a line of an invoice is for: usage, credit that has paid some of it already, tax on the rest."""

    USAGE = "usage"
    CREDIT = "credit"
    TAX = "tax"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLine:
    """One line of an invoice in whole cents; credit that was applied is below zero."""

    description: str
    amount_cents: int
    kind: LineKind = LineKind.USAGE


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
    #: Take it from the saved method instead of asking the customer to pay it.
    is_charged_automatically: bool = False

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
    #: What credit notes took off what was owed.
    credited_cents: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the provider, for the customer to open; without a ``url`` there is none (bank transfer)."""

    reference: str
    url: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SavedMethod:
    """A payment method that the provider keeps for a customer, in the words that a customer knows it by."""

    reference: str
    customer_reference: str
    brand: str
    last4: str
    #: ``YYYY-MM``; empty for what does not expire.
    expires: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TopUpDocument:
    """Credit that a customer buys."""

    top_up_id: str
    customer_reference: str
    currency: str
    cents: int
    #: When it was asked for: an earlier attempt cannot be older.
    asked_at: dt.datetime
    #: Where the provider's page sends the customer afterwards.
    return_url: str = ""
    cancel_url: str = ""

    def __post_init__(self) -> None:
        assert self.cents > 0, "nothing is collected for nothing"


class PaymentStatus(enum.StrEnum):
    """A payment as the provider sees it; expired is a page that can no longer be paid."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """The present state of a payment at the provider, with what it claims to be about."""

    #: Empty as long as there is only a page.
    reference: str
    checkout_reference: str
    status: PaymentStatus
    currency: str
    cents: int
    paid_cents: int
    refunded_cents: int
    customer_reference: str
    #: Our top-up's id, as it was given with it; empty for a stranger's and for an invoice's.
    top_up_id: str
    created_at: dt.datetime
    #: Why it failed, in a sentence.
    reason: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RefundDocument:
    """Part of a payment, or all of it, to be paid back."""

    refund_id: str
    payment_reference: str
    currency: str
    cents: int


class ProviderRefundStatus(enum.StrEnum):
    """A refund as the provider sees it."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProviderRefund:
    """The present state of a refund at the provider."""

    reference: str
    status: ProviderRefundStatus
    currency: str
    cents: int
    payment_reference: str
    #: Our refund's id, as it was given with it; empty for one that somebody made there.
    refund_id: str
    created_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CreditNoteDocument:
    """What is taken back of an issued invoice: off what is owed, or given back of what was paid."""

    credit_note_id: str
    number: str
    invoice_reference: str
    currency: str
    owed_cents: int
    refund_cents: int
    reason: str


class ProviderDisputeStatus(enum.StrEnum):
    """A dispute as the provider sees it; an inquiry that ended without one is won."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDispute:
    """The present state of a dispute at the provider, with the payment it is about."""

    reference: str
    status: ProviderDisputeStatus
    reason: str
    currency: str
    cents: int
    payment_reference: str
    #: What the payment was for: one of ours, or a stranger's with both empty.
    top_up_id: str
    invoice_id: str
    created_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEvent:
    """Something that happened at the provider: enough to look at the object again."""

    id: str
    kind: str
    object_id: str
    created_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """Usage for the provider's meter, in whole micro-dollars."""

    identifier: str
    customer_reference: str
    value_micro: int
    at: dt.datetime
