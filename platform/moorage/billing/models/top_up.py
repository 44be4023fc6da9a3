"""Credit that a customer buys, and what is paid back of it."""

from typing import Self

from django.db import models

from moorage.accounts.models import Organization
from moorage.kernel import clock, ids


def new_top_up_id() -> str:
    """An id for a top-up."""
    return ids.new("top")


def new_refund_id() -> str:
    """An id for a refund."""
    return ids.new("ref")


class TopUpKind(models.TextChoices):
    """Who pays it how: a person on the provider's page, or the saved method without anybody there."""

    CHECKOUT = "checkout", "On a payment page"
    SAVED_METHOD = "saved_method", "Saved payment method"


class TopUpStatus(models.TextChoices):
    """started, then paid, failed or expired. Money that comes late is taken: failed and expired may become paid."""

    STARTED = "started", "Waiting for the payment"
    PAID = "paid", "Paid"
    FAILED = "failed", "Not paid"
    EXPIRED = "expired", "Expired"


class TopUpQuerySet(models.QuerySet["TopUp"]):
    """Questions about top-ups."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class TopUp(models.Model):
    """Credit that is bought for whole cents. Written by billing/topups.py and billing/topup_state.py alone."""

    id = models.CharField(primary_key=True, max_length=40, default=new_top_up_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="top_ups")
    kind = models.CharField(max_length=16, choices=TopUpKind)
    status = models.CharField(max_length=16, choices=TopUpStatus, default=TopUpStatus.STARTED)
    reason = models.TextField(blank=True, default="")
    currency = models.CharField(max_length=3)
    cents = models.BigIntegerField()
    provider = models.CharField(max_length=16)
    #: The caller's idempotency key: a second call with it finds this row.
    source = models.CharField(max_length=200, unique=True)
    #: The provider's payment page, and the payment made there.
    checkout_reference = models.CharField(max_length=120, blank=True, default="")
    payment_reference = models.CharField(max_length=120, blank=True, default="")
    payment_url = models.URLField(max_length=2000, blank=True, default="")
    created_by = models.CharField(max_length=80)
    created_at = models.DateTimeField(default=clock.now)
    paid_at = models.DateTimeField(null=True)
    #: When the provider was last asked about it, so that a lost webhook is found.
    checked_at = models.DateTimeField(null=True)
    #: Somebody's bank took the payment back, or tries to.
    disputed_at = models.DateTimeField(null=True)

    objects = TopUpQuerySet.as_manager()

    class Meta:
        db_table = "top_up"
        constraints = [models.CheckConstraint(condition=models.Q(cents__gt=0), name="top_up_is_of_something")]
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="top_up_by_organization"),
            models.Index(fields=["payment_reference"], name="top_up_by_payment"),
            models.Index(fields=["created_at"], condition=models.Q(status="started"), name="top_up_waiting"),
        ]


class RefundStatus(models.TextChoices):
    """pending, then succeeded, or failed and the credit is back."""

    PENDING = "pending", "On its way"
    SUCCEEDED = "succeeded", "Paid back"
    FAILED = "failed", "Failed"


class RefundQuerySet(models.QuerySet["Refund"]):
    """Questions about refunds."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class Refund(models.Model):
    """Unused credit of one top-up, paid back. Written by billing/refunds.py and billing/foreign_refunds.py alone."""

    id = models.CharField(primary_key=True, max_length=40, default=new_refund_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="refunds")
    top_up = models.ForeignKey(TopUp, on_delete=models.PROTECT, related_name="refunds")
    status = models.CharField(max_length=16, choices=RefundStatus, default=RefundStatus.PENDING)
    currency = models.CharField(max_length=3)
    cents = models.BigIntegerField()
    provider = models.CharField(max_length=16)
    reference = models.CharField(max_length=120, blank=True, default="")
    reason = models.TextField()
    #: The caller's idempotency key; one call may pay several top-ups back.
    key = models.CharField(max_length=80)
    #: Of one that somebody made at the provider: what of it no credit was left for, until a person says what follows.
    uncovered_cents = models.BigIntegerField(default=0, db_default=0)
    uncovered_settled_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=80)
    created_at = models.DateTimeField(default=clock.now)
    settled_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField(null=True)

    objects = RefundQuerySet.as_manager()

    class Meta:
        db_table = "refund"
        constraints = [
            models.CheckConstraint(condition=models.Q(cents__gt=0), name="refund_is_of_something"),
            models.CheckConstraint(
                condition=models.Q(uncovered_cents__gte=0, uncovered_cents__lte=models.F("cents")),
                name="refund_uncovered_is_a_part",
            ),
            models.UniqueConstraint(fields=["organization", "key", "top_up"], name="refund_once_a_call"),
        ]
        indexes = [models.Index(fields=["organization", "-created_at"], name="refund_by_organization")]
