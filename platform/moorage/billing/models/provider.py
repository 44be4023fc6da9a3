"""What we tell a payment provider and hear from it."""

from django.db import models

from moorage.accounts.models import Organization
from moorage.kernel import clock, ids


def new_outbox_id() -> str:
    """An id for an outbox message."""
    return ids.new("out")


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


class EventCursor(models.Model):
    """Up to when a provider's list of events was read, so that webhooks that never came are found."""

    provider = models.CharField(primary_key=True, max_length=16)
    read_until = models.DateTimeField()
    polled_at = models.DateTimeField()

    class Meta:
        db_table = "event_cursor"


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
    """Money that comes by bank transfer, for an invoice or a top-up: what we wait for, and whether it came."""

    id = models.BigAutoField(primary_key=True)
    #: What the customer writes on the transfer: the invoice's number, or the top-up's id.
    reference = models.CharField(max_length=40, unique=True)
    #: The invoice or the top-up.
    subject_id = models.CharField(max_length=40, unique=True)
    customer_reference = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    total_cents = models.BigIntegerField()
    #: Empty for a top-up.
    statement_sha256 = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(default=clock.now)
    paid_at = models.DateTimeField(null=True)
    voided_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "bank_transfer"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(paid_at=None) | models.Q(voided_at=None), name="bank_transfer_ends_once"
            ),
        ]
