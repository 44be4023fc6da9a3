"""What is sent to a customer: the frozen statement, and the invoice made of it."""

from typing import Self

from django.db import models

from moorage.accounts.models import Organization
from moorage.billing.pico_field import PicoField
from moorage.kernel import clock, ids


def new_statement_id() -> str:
    """An id for a statement."""
    return ids.new("st")


def new_invoice_id() -> str:
    """An id for an invoice."""
    return ids.new("inv")


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
    #: What the organization's credit has paid of it already; 0 before version 2.
    credit_applied_pico = PicoField(default=0)
    document = models.TextField()
    sha256 = models.CharField(max_length=64)
    frozen_at = models.DateTimeField(default=clock.now)

    objects = StatementQuerySet.as_manager()

    class Meta:
        db_table = "statement"
        constraints = [
            models.UniqueConstraint(fields=["organization", "period_start"], name="statement_once_a_period"),
        ]

    @property
    def due_pico(self) -> int:
        """What is left to invoice, exactly."""
        return int(self.total_pico) - int(self.credit_applied_pico)


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
    """What an organization owes for a frozen statement, in whole cents. Written by billing/states.py alone.

    ``total_cents = subtotal_cents + tax_cents``: the statement's due, rounded once, and tax on it. Until a number
    is given the tax is what it would be today; with the number everything but status and provider is frozen, the
    buyer's and the seller's details included.
    """

    id = models.CharField(primary_key=True, max_length=40, default=new_invoice_id, editable=False)
    number = models.PositiveIntegerField(null=True, unique=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="invoices")
    statement = models.OneToOneField(Statement, on_delete=models.PROTECT, related_name="invoice")
    status = models.CharField(max_length=16, choices=InvoiceStatus, default=InvoiceStatus.DRAFT)
    reason = models.TextField(default="", blank=True)
    currency = models.CharField(max_length=3)
    subtotal_cents = models.BigIntegerField(default=0)
    tax_cents = models.BigIntegerField(default=0)
    total_cents = models.BigIntegerField()
    #: Copies of billing_details.Buyer and Seller, made with the number.
    buyer = models.JSONField(default=dict, blank=True)
    seller = models.JSONField(default=dict, blank=True)
    provider = models.CharField(max_length=16)
    provider_reference = models.CharField(max_length=120, blank=True, default="")
    payment_url = models.URLField(max_length=500, blank=True, default="")
    #: When the provider was last asked about it, so that a lost webhook is found.
    checked_at = models.DateTimeField(null=True)
    #: Somebody's bank takes the payment back, or tries to. Set by billing/disputes.py.
    disputed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now)
    reviewed_by = models.CharField(max_length=80, blank=True, default="")
    finalized_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
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


class InvoiceTaxLine(models.Model):
    """Tax on an invoice, as it was when the number was given. Append-only."""

    id = models.BigAutoField(primary_key=True)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="tax_lines")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=80)
    #: Hundredths of a percent.
    basis_points = models.PositiveIntegerField()
    amount_cents = models.BigIntegerField()

    class Meta:
        db_table = "invoice_tax_line"
        constraints = [models.UniqueConstraint(fields=["invoice", "position"], name="invoice_tax_line_position_once")]
