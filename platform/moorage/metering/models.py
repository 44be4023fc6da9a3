"""Measured facts, append-only: requests with their tokens, and replica time.

No foreign keys on purpose: usage outlives what it was measured on, and the shipper's insert must not fail because
a deployment is gone. Triggers refuse update, delete and truncate.
"""

from typing import Self

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import functions

from moorage.accounts.models import Organization
from moorage.kernel import clock, ids


def new_replica_usage_id() -> str:
    """An id for an interval of replica time."""
    return ids.new("use")


class UsageEventQuerySet(models.QuerySet["UsageEvent"]):
    """Questions about requests."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization_id=organization.pk)


class UsageEvent(models.Model):
    """One request, however it ended: the columns of wire.records.UsageEvent. The request id makes it exactly one.

    Every index costs each request (README.md): there is none that no question needs.
    """

    request_id = models.CharField(primary_key=True, max_length=40)
    organization_id = models.CharField(max_length=40)
    deployment_id = models.CharField(max_length=40)
    revision_id = models.CharField(max_length=40)
    replica_id = models.CharField(max_length=40, blank=True)
    key_id = models.CharField(max_length=40)
    model_key = models.CharField(max_length=120)
    served_name = models.CharField(max_length=170)
    path = models.CharField(max_length=80)
    is_stream = models.BooleanField()
    outcome = models.CharField(max_length=24)
    status = models.IntegerField()
    input_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    #: Where the counts come from: engine | engine_running | gateway | none.
    source = models.CharField(max_length=24)
    started_at = models.DateTimeField()
    first_token_at = models.DateTimeField(null=True)
    #: Decides the billing period.
    ended_at = models.DateTimeField()
    held_seconds = models.DecimalField(max_digits=12, decimal_places=6, default=0)
    #: The engine's figure was not borne out by what was delivered: the lower one is billed, and a person should look.
    is_disputed = models.BooleanField(default=False, db_default=False)
    #: The boot of the gateway worker that metered it: the name of its journal.
    boot_id = models.CharField(max_length=40, blank=True, default="", db_default="")
    recorded_at = models.DateTimeField(db_default=functions.Now())

    objects = UsageEventQuerySet.as_manager()

    class Meta:
        db_table = "usage_event"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(input_tokens__gte=0, output_tokens__gte=0, cached_tokens__gte=0)
                & models.Q(cached_tokens__lte=models.F("input_tokens")),
                name="usage_event_counts_are_sane",
            ),
        ]
        indexes = [
            models.Index(fields=["organization_id", "ended_at"], name="usage_event_by_organization"),
            # Rows lie in the order of their arrival: a few pages say where each moment begins.
            BrinIndex(fields=["recorded_at"], name="usage_event_by_arrival", pages_per_range=32),
            models.Index(fields=["ended_at"], condition=models.Q(is_disputed=True), name="usage_event_disputed"),
        ]


class ReplicaUsageQuerySet(models.QuerySet["ReplicaUsage"]):
    """Questions about replica time."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization_id=organization.pk)


class ReplicaUsage(models.Model):
    """Whole seconds of a replica in one state, ``[started_at, ended_at)``. Intervals of a replica do not overlap, and
    none crosses the end of a month."""

    id = models.CharField(primary_key=True, max_length=40, default=new_replica_usage_id, editable=False)
    organization_id = models.CharField(max_length=40)
    deployment_id = models.CharField(max_length=40)
    revision_id = models.CharField(max_length=40)
    replica_id = models.CharField(max_length=40)
    model_key = models.CharField(max_length=120)
    #: What the replica did (pull, load, frozen, idle, busy) and on which devices, where it is known: prices may differ.
    state = models.CharField(max_length=16, blank=True, default="", db_default="")
    device_class = models.CharField(max_length=80, blank=True, default="", db_default="")
    seconds = models.BigIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    recorded_at = models.DateTimeField(default=clock.now)

    objects = ReplicaUsageQuerySet.as_manager()

    class Meta:
        db_table = "replica_usage"
        constraints = [
            models.UniqueConstraint(fields=["replica_id", "started_at"], name="replica_usage_once"),
            models.CheckConstraint(condition=models.Q(seconds__gt=0), name="replica_usage_takes_time"),
        ]
        indexes = [models.Index(fields=["organization_id", "ended_at"], name="replica_usage_by_organization")]


class JournalSegment(models.Model):
    """How far the shipper has read one segment of one gateway's journal; committed with the events it holds."""

    name = models.CharField(primary_key=True, max_length=120)
    offset = models.BigIntegerField(default=0)
    shipped_at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "journal_segment"


class ShippedBoot(models.Model):
    """A gateway worker that is dead and whose whole journal is in usage_event: nothing of it will come any more."""

    boot_id = models.CharField(primary_key=True, max_length=40)
    shipped_at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "shipped_boot"


class ShippingMark(models.Model):
    """One row: everything that ended before ``complete_until`` is in usage_event. Closing a month waits for it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    complete_until = models.DateTimeField()

    class Meta:
        db_table = "shipping_mark"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="shipping_mark_is_one_row")]


class IdempotencyClaim(models.Model):
    """Which request holds an Idempotency-Key. Written by the gateway; whether that request was answered, and billed, is
    read from its usage event. Key and body are here as keyed hashes, so that nobody can try out guesses."""

    id = models.CharField(primary_key=True, max_length=64)
    body_digest = models.CharField(max_length=64)
    request_id = models.CharField(max_length=40)
    boot_id = models.CharField(max_length=40)
    claimed_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "idempotency_claim"
        indexes = [models.Index(fields=["expires_at"], name="idempotency_claim_by_expiry")]
