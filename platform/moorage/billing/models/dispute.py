"""A payment that somebody's bank takes back, or tries to."""

from typing import Self

from django.db import models

from moorage.accounts.models import Organization
from moorage.billing.models.bill import Invoice
from moorage.billing.models.top_up import TopUp
from moorage.kernel import clock


class DisputeStatus(models.TextChoices):
    """open, then won or lost; one that was lost may be won after all."""

    OPEN = "open", "Open"
    WON = "won", "Won"
    LOST = "lost", "Lost"


class DisputeQuerySet(models.QuerySet["Dispute"]):
    """Questions about disputes."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class Dispute(models.Model):
    """A dispute of one payment, for a top-up or an invoice. Written by billing/disputes.py alone."""

    #: The provider's reference.
    id = models.CharField(primary_key=True, max_length=120, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="disputes")
    top_up = models.ForeignKey(TopUp, on_delete=models.PROTECT, null=True, related_name="disputes")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, null=True, related_name="disputes")
    provider = models.CharField(max_length=16)
    status = models.CharField(max_length=16, choices=DisputeStatus, default=DisputeStatus.OPEN)
    #: As the provider words it: ``fraudulent``, ``product_not_received``.
    reason = models.CharField(max_length=120, blank=True, default="")
    currency = models.CharField(max_length=3)
    cents = models.BigIntegerField()
    opened_at = models.DateTimeField(default=clock.now)
    closed_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField(null=True)

    objects = DisputeQuerySet.as_manager()

    class Meta:
        db_table = "dispute"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(top_up=None) ^ models.Q(invoice=None), name="dispute_is_of_one_payment"
            ),
        ]
