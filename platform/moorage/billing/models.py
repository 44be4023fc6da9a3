"""Money: prices, rated usage, the ledger, statements, invoices, and the outbox to the payment provider.

Amounts are integer pico-units (1e-12) of the currency, in ``numeric(38,0)`` where they are sums. Triggers make
rated usage and the ledger append-only and every ledger transaction sum to zero.
"""

from typing import Self

from django.db import models

from moorage.accounts.models import Organization
from moorage.billing.pico_field import PicoField
from moorage.kernel import clock, ids


def new_price_id() -> str:
    """An id for a price."""
    return ids.new("pri")


def new_statement_id() -> str:
    """An id for a statement."""
    return ids.new("st")


def new_invoice_id() -> str:
    """An id for an invoice."""
    return ids.new("inv")


def new_transaction_id() -> str:
    """An id for a ledger transaction."""
    return ids.new("txn")


def new_outbox_id() -> str:
    """An id for an outbox message."""
    return ids.new("out")


class Meter(models.TextChoices):
    """What is summed and priced. Input tokens that came from the cache are counted as cached, not twice."""

    INPUT_TOKENS = "input_tokens", "Input tokens"
    CACHED_INPUT_TOKENS = "cached_input_tokens", "Cached input tokens"
    OUTPUT_TOKENS = "output_tokens", "Output tokens"
    REPLICA_SECONDS = "replica_seconds", "Replica seconds"


class Price(models.Model):
    """An immutable rate of a meter from a moment on; a change is a new row.

    ``model`` is a served name or a pattern with ``*``; the most specific match wins, then the latest ``valid_from``.
    """

    id = models.CharField(primary_key=True, max_length=40, default=new_price_id, editable=False)
    meter = models.CharField(max_length=32, choices=Meter)
    model = models.CharField(max_length=170, default="*")
    currency = models.CharField(max_length=3, default="USD")
    pico_per_unit = models.BigIntegerField()
    valid_from = models.DateTimeField()
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=80)
    note = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "price"
        constraints = [
            models.UniqueConstraint(fields=["meter", "model", "currency", "valid_from"], name="price_once_a_moment"),
            models.CheckConstraint(condition=models.Q(pico_per_unit__gte=0), name="price_is_not_negative"),
        ]


class RatedUsageQuerySet(models.QuerySet["RatedUsage"]):
    """Questions about priced usage."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization_id=organization.pk)


class RatedUsage(models.Model):
    """One meter of one usage event (or interval of replica time) at the price that was in force. Append-only."""

    id = models.BigAutoField(primary_key=True)
    #: The usage event's request id, or the replica usage's id.
    source_id = models.CharField(max_length=40)
    organization_id = models.CharField(max_length=40)
    deployment_id = models.CharField(max_length=40)
    revision_id = models.CharField(max_length=40)
    key_id = models.CharField(max_length=40, blank=True, default="")
    served_name = models.CharField(max_length=170)
    meter = models.CharField(max_length=32, choices=Meter)
    quantity = models.BigIntegerField()
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    amount_pico = PicoField()
    #: When the usage ended.
    ended_at = models.DateTimeField()
    #: The beginning of the month it is charged in: its own, or a later one when that was closed already (late usage).
    period_start = models.DateTimeField()
    rated_at = models.DateTimeField(default=clock.now)

    objects = RatedUsageQuerySet.as_manager()

    class Meta:
        db_table = "rated_usage"
        constraints = [
            models.UniqueConstraint(fields=["source_id", "meter"], name="rated_usage_once"),
        ]
        indexes = [
            models.Index(fields=["organization_id", "period_start", "id"], name="rated_usage_by_period"),
            models.Index(fields=["ended_at"], name="rated_usage_by_time"),
        ]


class SourceKind(models.TextChoices):
    """What was measured: one request, or an interval of replica time."""

    REQUEST = "request", "Request"
    REPLICA_TIME = "replica_time", "Replica time"


class UnratedUsageQuerySet(models.QuerySet["UnratedUsage"]):
    """Questions about usage without a price."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization_id=organization.pk)

    def unpriced(self) -> Self:
        """Those that were looked at and have no price."""
        return self.exclude(unpriced_meter="")


class UnratedUsage(models.Model):
    """Usage that waits to be rated. A trigger adds a row with each measured fact; rating takes it away again."""

    source_id = models.CharField(primary_key=True, max_length=40)
    kind = models.CharField(max_length=16, choices=SourceKind)
    organization_id = models.CharField(max_length=40)
    ended_at = models.DateTimeField()
    #: Set when a meter of it has no price in force; nobody guesses one.
    unpriced_meter = models.CharField(max_length=32, blank=True, default="")
    unpriced_model = models.CharField(max_length=170, blank=True, default="")
    due_at = models.DateTimeField(default=clock.now)

    objects = UnratedUsageQuerySet.as_manager()

    class Meta:
        db_table = "unrated_usage"
        indexes = [
            models.Index(fields=["due_at"], name="unrated_usage_due"),
            # What has no price is asked for by organization; what only waits its turn is not, and pays for no index.
            models.Index(
                fields=["organization_id", "ended_at"],
                condition=~models.Q(unpriced_meter=""),
                name="unrated_usage_unpriced",
            ),
        ]


class BillingMonth(models.Model):
    """A month in which an organization is charged for something: what closing looks for."""

    id = models.BigAutoField(primary_key=True)
    organization_id = models.CharField(max_length=40)
    period_start = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    #: Why it is not closed although it is due; for an administrator.
    held_reason = models.TextField(blank=True, default="")

    class Meta:
        db_table = "billing_month"
        constraints = [
            models.UniqueConstraint(fields=["organization_id", "period_start"], name="billing_month_once"),
        ]
        indexes = [
            models.Index(fields=["period_start"], condition=models.Q(closed_at=None), name="billing_month_open"),
        ]


class LedgerAccount(models.Model):
    """Where value is: one row an organization and kind (receivable, revenue, clearing, …)."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, null=True, related_name="ledger_accounts")
    kind = models.CharField(max_length=40)
    currency = models.CharField(max_length=3)

    class Meta:
        db_table = "ledger_account"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "kind", "currency"], name="ledger_account_once", nulls_distinct=False
            ),
        ]


class LedgerTransaction(models.Model):
    """A balanced set of entries. ``idempotency_key`` makes a repeated post a no-op."""

    id = models.CharField(primary_key=True, max_length=40, default=new_transaction_id, editable=False)
    kind = models.CharField(max_length=40)
    idempotency_key = models.CharField(max_length=200, unique=True)
    reverses = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="reversed_by")
    effective_at = models.DateTimeField()
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "ledger_transaction"


class LedgerEntry(models.Model):
    """One signed line of a transaction; positive is debit."""

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="entries")
    amount_pico = PicoField()

    class Meta:
        db_table = "ledger_entry"
        constraints = [
            models.CheckConstraint(condition=~models.Q(amount_pico=0), name="ledger_entry_moves_something"),
        ]


class StatementQuerySet(models.QuerySet["Statement"]):
    """Questions about statements."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class Statement(models.Model):
    """A frozen month of one organization. ``document`` is its canonical JSON, ``sha256`` the hash of those bytes."""

    id = models.CharField(primary_key=True, max_length=40, default=new_statement_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="statements")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    currency = models.CharField(max_length=3)
    total_pico = PicoField()
    document = models.TextField()
    sha256 = models.CharField(max_length=64)
    frozen_at = models.DateTimeField(default=clock.now)

    objects = StatementQuerySet.as_manager()

    class Meta:
        db_table = "statement"
        constraints = [
            models.UniqueConstraint(fields=["organization", "period_start"], name="statement_once_a_period"),
        ]


class InvoiceStatus(models.TextChoices):
    """draft, in review where policy asks, then finalized and never changed, then paid, void or uncollectible."""

    DRAFT = "draft", "Draft"
    IN_REVIEW = "in_review", "In review"
    FINALIZED = "finalized", "Finalized"
    PAID = "paid", "Paid"
    VOID = "void", "Void"
    UNCOLLECTIBLE = "uncollectible", "Uncollectible"


class InvoiceQuerySet(models.QuerySet["Invoice"]):
    """Questions about invoices."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class Invoice(models.Model):
    """What an organization owes for a frozen statement, in whole cents. Written by billing/states.py alone."""

    id = models.CharField(primary_key=True, max_length=40, default=new_invoice_id, editable=False)
    number = models.PositiveIntegerField(null=True, unique=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="invoices")
    statement = models.OneToOneField(Statement, on_delete=models.PROTECT, related_name="invoice")
    status = models.CharField(max_length=16, choices=InvoiceStatus, default=InvoiceStatus.DRAFT)
    reason = models.TextField(default="", blank=True)
    currency = models.CharField(max_length=3)
    total_cents = models.BigIntegerField()
    provider = models.CharField(max_length=16)
    provider_reference = models.CharField(max_length=120, blank=True, default="")
    payment_url = models.URLField(max_length=500, blank=True, default="")
    #: When the provider was last asked about it, so that a lost webhook is found.
    checked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now)
    reviewed_by = models.CharField(max_length=80, blank=True, default="")
    finalized_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)

    objects = InvoiceQuerySet.as_manager()

    class Meta:
        db_table = "invoice"
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="invoice_by_organization"),
            models.Index(fields=["status"], name="invoice_by_status"),
        ]


class InvoiceLine(models.Model):
    """One line of an invoice; the lines' cents add up to the total (largest remainder)."""

    id = models.BigAutoField(primary_key=True)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()
    description = models.CharField(max_length=300)
    deployment_id = models.CharField(max_length=40, blank=True, default="")
    meter = models.CharField(max_length=32)
    quantity = models.BigIntegerField()
    amount_pico = PicoField()
    amount_cents = models.BigIntegerField()

    class Meta:
        db_table = "invoice_line"
        constraints = [models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_position_once")]


class OutboxMessage(models.Model):
    """Something to tell the payment provider, written beside the change it follows from, sent until acknowledged."""

    id = models.CharField(primary_key=True, max_length=40, default=new_outbox_id, editable=False)
    topic = models.CharField(max_length=60)
    subject_id = models.CharField(max_length=40)
    #: Sent as the provider's idempotency key; never changes between attempts.
    idempotency_key = models.CharField(max_length=200, unique=True)
    body = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=clock.now)
    next_attempt_at = models.DateTimeField(default=clock.now)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(default="", blank=True)
    sent_at = models.DateTimeField(null=True)
    #: The provider refused it for good; a person has to look.
    parked_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "outbox_message"
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(sent_at=None, parked_at=None),
                name="outbox_message_due",
            ),
        ]


class WebhookEvent(models.Model):
    """One event a provider sent, kept once by its id, applied later."""

    id = models.CharField(primary_key=True, max_length=120)
    provider = models.CharField(max_length=16)
    kind = models.CharField(max_length=120)
    object_id = models.CharField(max_length=120, blank=True, default="")
    received_at = models.DateTimeField(default=clock.now)
    applied_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=clock.now)
    last_error = models.TextField(default="", blank=True)

    class Meta:
        db_table = "webhook_event"
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=models.Q(applied_at=None), name="webhook_event_due"),
        ]


class ProviderCustomer(models.Model):
    """An organization's customer object at a provider."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="provider_customers")
    provider = models.CharField(max_length=16)
    reference = models.CharField(max_length=120)

    class Meta:
        db_table = "provider_customer"
        constraints = [
            models.UniqueConstraint(fields=["organization", "provider"], name="provider_customer_once"),
        ]


class BankTransfer(models.Model):
    """An invoice that is paid by bank transfer: what we wait for, and whether it came."""

    id = models.BigAutoField(primary_key=True)
    #: What the customer writes on the transfer: the invoice's number.
    reference = models.CharField(max_length=40, unique=True)
    invoice_id = models.CharField(max_length=40, unique=True)
    customer_reference = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    total_cents = models.BigIntegerField()
    statement_sha256 = models.CharField(max_length=64)
    paid_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "bank_transfer"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(paid_at=None) | models.Q(voided_at=None), name="bank_transfer_ends_once"
            ),
        ]
