"""Measured facts on their way: what waits to be rated, what is rated, and the months it is charged in."""

from typing import Self

from django.contrib.postgres.indexes import BrinIndex
from django.db import models

from moorage.accounts.models import Organization
from moorage.billing.models.meter import Meter
from moorage.billing.models.price import Price
from moorage.billing.pico_field import PicoField
from moorage.kernel import clock


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
    #: Prices are never removed, and the rater writes what it has just read: no row pays for a check or an index.
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    #: The rate of its tier: ``amount_pico`` is ``quantity`` times this.
    pico_per_unit = models.BigIntegerField()
    #: Which tier of a graduated price, counted from 0.
    tier = models.PositiveSmallIntegerField(default=0, db_default=0)
    #: A quantity that crosses tiers is split: which piece of it, counted from 0.
    part = models.PositiveSmallIntegerField(default=0, db_default=0)
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
            # Whatever its tiers are by then, the first piece of a quantity is there once.
            models.UniqueConstraint(fields=["source_id", "meter", "part"], name="rated_usage_part_once"),
        ]
        indexes = [
            models.Index(fields=["organization_id", "period_start", "id"], name="rated_usage_by_period"),
            # Rows lie nearly in the order of their ends: a few pages say where each moment begins.
            BrinIndex(fields=["ended_at"], name="rated_usage_by_end", pages_per_range=32),
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
