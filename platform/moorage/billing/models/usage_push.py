"""What was told to the provider's usage meter, window by window."""

from django.db import models

from moorage.accounts.models import Organization
from moorage.kernel import clock, ids


def new_push_id() -> str:
    """An id for a push."""
    return ids.new("psh")


class PushStatus(models.TextChoices):
    """pending, sending from before the first call on, then acked, rejected, uncertain; or dropped by a person."""

    PENDING = "pending", "Pending"
    SENDING = "sending", "Sending"
    ACKED = "acked", "Acknowledged"
    REJECTED = "rejected", "Rejected"
    UNCERTAIN = "uncertain", "Uncertain"
    DROPPED = "dropped", "Not received"


class UsagePush(models.Model):
    """So many micro-dollars of usage of one organization, sent once. Written by billing/meter_export.py alone."""

    id = models.CharField(primary_key=True, max_length=40, default=new_push_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    seq = models.PositiveIntegerField()
    #: The month it is charged in.
    period_start = models.DateTimeField()
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    value_micro = models.BigIntegerField()
    status = models.CharField(max_length=16, choices=PushStatus, default=PushStatus.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    #: How many answers said that the provider failed: it keeps such an answer for the key it was given under.
    failures = models.PositiveIntegerField(default=0)
    first_sent_at = models.DateTimeField(null=True)
    next_attempt_at = models.DateTimeField(default=clock.now)
    last_error = models.TextField(blank=True, default="")
    decided_by = models.CharField(max_length=80, blank=True, default="")

    class Meta:
        db_table = "usage_push"
        constraints = [
            models.UniqueConstraint(fields=["organization", "seq"], name="usage_push_in_order"),
            models.UniqueConstraint(
                fields=["organization"],
                condition=models.Q(status__in=["pending", "sending", "rejected", "uncertain"]),
                name="usage_push_one_at_a_time",
            ),
        ]
        indexes = [models.Index(fields=["organization", "period_start"], name="usage_push_by_period")]

    @property
    def identifier(self) -> str:
        """What the provider knows it by, the same in every attempt."""
        return f"u1-{self.id}"
