"""Limits, the allowances that they make in their windows, and what gateway workers have leased of them."""

from typing import Self

from django.db import models

from moorage.accounts.models.organization import Organization
from moorage.kernel import clock


class SubjectLimitQuerySet(models.QuerySet["SubjectLimit"]):
    """Questions about limits."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class SubjectLimit(models.Model):
    """The limits of one subject: an organization, one of its keys or one of its deployments, by id.

    Triggers carry a change to the gateways and to the allowances of the windows that are running.
    """

    subject = models.CharField(primary_key=True, max_length=40)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    #: wire.limits.Limits.
    limits = models.JSONField(default=dict)
    changed_at = models.DateTimeField(default=clock.now)

    objects = SubjectLimitQuerySet.as_manager()

    class Meta:
        db_table = "subject_limit"


class AllowanceQuerySet(models.QuerySet["Allowance"]):
    """Questions about allowances."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class Allowance(models.Model):
    """What there is of one limit in one window, what of it is used, and what is leased to gateway workers.

    Written by the SQL functions of migration 0004 alone. The constraint is what makes a cap one: whatever the workers
    do, used and leased together stay within it. Windows are Unix seconds, ``[starts, ends)``.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=40)
    measure = models.CharField(max_length=16)
    window = models.CharField(max_length=16)
    starts = models.BigIntegerField()
    ends = models.BigIntegerField()
    #: In force now; it may be lowered below what is used.
    capacity = models.DecimalField(max_digits=38, decimal_places=0)
    #: The highest capacity there was in this window.
    ceiling = models.DecimalField(max_digits=38, decimal_places=0)
    used = models.DecimalField(max_digits=38, decimal_places=0, default=0)
    leased = models.DecimalField(max_digits=38, decimal_places=0, default=0)

    objects = AllowanceQuerySet.as_manager()

    class Meta:
        db_table = "allowance"
        constraints = [
            models.UniqueConstraint(fields=["subject", "measure", "window", "starts"], name="allowance_once_a_window"),
            models.CheckConstraint(
                condition=models.Q(used__gte=0, leased__gte=0, capacity__gte=0, capacity__lte=models.F("ceiling")),
                name="allowance_is_sane",
            ),
            models.CheckConstraint(
                condition=models.Q(ceiling__gte=models.F("used") + models.F("leased")), name="allowance_is_not_crossed"
            ),
        ]
        indexes = [models.Index(fields=["ends"], name="allowance_by_end")]


class GatewayWorker(models.Model):
    """One boot of one gateway worker, while it holds leases or its journal is not settled."""

    boot_id = models.CharField(primary_key=True, max_length=40)
    started_at = models.DateTimeField(default=clock.now)
    heartbeat_at = models.DateTimeField(default=clock.now)
    #: The number of its last report: the same report told twice counts once.
    report = models.BigIntegerField(default=0)

    class Meta:
        db_table = "gateway_worker"


class Lease(models.Model):
    """What one worker may still use of one allowance without asking anybody."""

    worker = models.ForeignKey(GatewayWorker, on_delete=models.PROTECT, related_name="leases", db_column="boot_id")
    allowance = models.ForeignKey(Allowance, on_delete=models.CASCADE, related_name="leases")
    amount = models.DecimalField(max_digits=38, decimal_places=0)
    #: What was settled of it until then (the worker's clock, Unix microseconds) is in the allowance's ``used``.
    told_until_us = models.BigIntegerField(default=0)

    class Meta:
        db_table = "lease"
        constraints = [
            models.UniqueConstraint(fields=["worker", "allowance"], name="lease_once_a_worker"),
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="lease_is_not_negative"),
        ]
