"""What an administrator's review keeps: requests for a second pair of eyes, reconciliation runs, unusual usage."""

from django.db import models
from django.db.models import F, Q

from moorage.accounts.models import Organization
from moorage.billing.pico_field import PicoField
from moorage.kernel import clock, ids


def new_approval_id() -> str:
    """An id for a request for approval."""
    return ids.new("apr")


class ApprovalKind(models.TextChoices):
    """The deeds that another administrator may have to agree to."""

    CREDIT = "credit", "Credit"
    ADJUSTMENT = "adjustment", "Adjustment"
    UNCOLLECTIBLE = "uncollectible", "Mark uncollectible"
    VOID = "void", "Void"
    REFUND = "refund", "Refund of credit"
    PAYOUT = "payout", "Payout of a credit note"


class ApprovalStatus(models.TextChoices):
    """Waiting until another administrator approves or refuses it, or the requester takes it back."""

    WAITING = "waiting", "Waiting"
    APPROVED = "approved", "Approved"
    REFUSED = "refused", "Refused"
    WITHDRAWN = "withdrawn", "Withdrawn"


class ApprovalRequest(models.Model):
    """One deed that moves money and waits for another administrator. Decided once; then never changed."""

    id = models.CharField(primary_key=True, max_length=40, default=new_approval_id, editable=False)
    kind = models.CharField(max_length=16, choices=ApprovalKind)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    #: What it is about: an invoice's id; empty for credit to the organization.
    invoice_id = models.CharField(max_length=40, blank=True, default="")
    #: What would move, never negative.
    amount_pico = PicoField()
    #: What the deed needs besides: an expiry.
    detail = models.JSONField(default=dict)
    reason = models.TextField()
    status = models.CharField(max_length=16, choices=ApprovalStatus, default=ApprovalStatus.WAITING)
    requested_at = models.DateTimeField(default=clock.now)
    #: The person behind it, also where an API key of theirs asked.
    requested_by = models.CharField(max_length=80)
    requested_by_label = models.CharField(max_length=120)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=80, blank=True, default="")
    decided_by_label = models.CharField(max_length=120, blank=True, default="")
    decided_because = models.TextField(blank=True, default="")

    class Meta:
        db_table = "approval_request"
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "invoice_id"],
                condition=Q(status="waiting") & ~Q(invoice_id=""),
                name="approval_request_once_an_invoice",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["waiting", "withdrawn"]) | ~Q(decided_by=F("requested_by")),
                name="approval_request_by_another",
            ),
            models.CheckConstraint(
                condition=Q(status="waiting", decided_at=None) | (~Q(status="waiting") & Q(decided_at__isnull=False)),
                name="approval_request_decided_once",
            ),
            models.CheckConstraint(condition=Q(amount_pico__gte=0), name="approval_request_is_not_negative"),
        ]
        indexes = [models.Index(fields=["status", "-requested_at"], name="approval_request_by_status")]


class MoneyDeed(models.Model):
    """What one administrator did without another, counted so that much in small parts is seen. Append-only."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=16, choices=ApprovalKind)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    #: Names the deed: repeated, it counts once.
    key = models.CharField(max_length=120)
    amount_pico = PicoField()
    by = models.CharField(max_length=80)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "money_deed"
        constraints = [
            models.UniqueConstraint(fields=["organization", "kind", "key"], name="money_deed_once"),
            models.CheckConstraint(condition=Q(amount_pico__gte=0), name="money_deed_is_not_negative"),
        ]


class ReconciliationRun(models.Model):
    """One comparison of two records of the same thing, written down also when they agree."""

    id = models.BigAutoField(primary_key=True)
    job = models.CharField(max_length=4)
    #: Who pressed the button; empty where it was due.
    asked_by = models.CharField(max_length=120, blank=True, default="")
    asked_at = models.DateTimeField(default=clock.now)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    #: None until it has ended.
    is_clean = models.BooleanField(null=True)
    #: What was looked at, in facts.
    compared = models.BigIntegerField(default=0)
    #: Some of what differs: [{"code", "subject", "sentence", "organization_id", "request_id", "invoice_id"}].
    findings = models.JSONField(default=list)
    #: All that differs, also what is not in ``findings``.
    finding_count = models.BigIntegerField(default=0)
    #: What could not be compared and why, as a sentence.
    note = models.TextField(blank=True, default="")
    #: Facts that arrived before this were looked at, in this run or an earlier one.
    covered_until = models.DateTimeField(null=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=120, blank=True, default="")
    acknowledged_because = models.TextField(blank=True, default="")

    class Meta:
        db_table = "reconciliation_run"
        constraints = [
            models.UniqueConstraint(
                fields=["job"], condition=Q(ended_at=None), name="reconciliation_run_one_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(started_at__isnull=False, is_clean__isnull=False),
                name="reconciliation_run_ends_with_a_result",
            ),
        ]
        indexes = [
            models.Index(fields=["job", "-id"], name="reconciliation_run_by_job"),
            models.Index(
                fields=["job"], condition=Q(is_clean=False, acknowledged_at=None), name="reconciliation_run_open"
            ),
        ]


class EngineReading(models.Model):
    """An engine's own token counters as they were read last, beside what was metered of its replica until then.

    Counters are sums over the replica's life: a counter that went back has begun anew and is added to what was.
    """

    replica_id = models.CharField(primary_key=True, max_length=40)
    organization_id = models.CharField(max_length=40)
    read_at = models.DateTimeField()
    #: As the engine told them.
    raw_input = models.BigIntegerField()
    raw_output = models.BigIntegerField()
    #: Since the first reading.
    engine_input = models.BigIntegerField(default=0)
    engine_output = models.BigIntegerField(default=0)
    #: The same, one reading earlier: requests that were running then are metered by now.
    earlier_input = models.BigIntegerField(default=0)
    earlier_output = models.BigIntegerField(default=0)
    #: Metered since the first reading.
    metered_input = models.BigIntegerField(default=0)
    metered_output = models.BigIntegerField(default=0)
    #: Of those, what requests that were answered to their end had: engines do not count all of the others.
    completed_output = models.BigIntegerField(default=0)

    class Meta:
        db_table = "engine_reading"


class AnomalyKind(models.TextChoices):
    """What is unusual."""

    SURGE = "surge", "Surge"
    NEW_KEY = "new_key", "New key in heavy use"
    DISPUTED = "disputed", "Disputed counts"
    NO_TOKENS = "no_tokens", "Answers without a token"
    NO_PRICE = "no_price", "No price in its currency"


class UsageAnomaly(models.Model):
    """Usage of one day that is not like that of the days before. It stays until somebody says why that is fine."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=16, choices=AnomalyKind)
    organization_id = models.CharField(max_length=40)
    #: organization | key | deployment
    subject_kind = models.CharField(max_length=16)
    subject_id = models.CharField(max_length=40)
    day = models.DateField()
    #: Tokens or requests of the day, and what is usual.
    figure = models.BigIntegerField()
    usual = models.BigIntegerField(default=0)
    sentence = models.TextField()
    found_at = models.DateTimeField(default=clock.now)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=120, blank=True, default="")
    acknowledged_because = models.TextField(blank=True, default="")

    class Meta:
        db_table = "usage_anomaly"
        constraints = [
            models.UniqueConstraint(fields=["kind", "subject_id", "day"], name="usage_anomaly_once_a_day"),
        ]
        indexes = [models.Index(fields=["acknowledged_at", "-day"], name="usage_anomaly_open")]


class UsageDay(models.Model):
    """A day of one key at one deployment, added up as usage arrives: what anomalies are measured against.

    A projection for watching, not for charging: it is built from ``usage_event`` and may be emptied at any time.
    """

    id = models.BigAutoField(primary_key=True)
    organization_id = models.CharField(max_length=40)
    deployment_id = models.CharField(max_length=40)
    key_id = models.CharField(max_length=40)
    day = models.DateField()
    requests = models.BigIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    disputed = models.BigIntegerField(default=0)
    #: Generated answers with at least one token, and how many without one have come since the last of these.
    with_output = models.BigIntegerField(default=0)
    zero_streak = models.BigIntegerField(default=0)

    class Meta:
        db_table = "usage_day"
        constraints = [
            models.UniqueConstraint(
                fields=["day", "organization_id", "deployment_id", "key_id"], name="usage_day_once"
            ),
        ]


class WatchMark(models.Model):
    """How far a watcher has read ``usage_event``, by arrival; moved in the transaction that adds up what it read."""

    name = models.CharField(primary_key=True, max_length=40)
    until = models.DateTimeField()

    class Meta:
        db_table = "watch_mark"


class PutAway(models.Model):
    """A message to the provider, or an event of it, that a person has settled otherwise: nobody is asked again."""

    subject_id = models.CharField(primary_key=True, max_length=120)
    at = models.DateTimeField(default=clock.now)
    by = models.CharField(max_length=120)
    because = models.TextField()

    class Meta:
        db_table = "put_away"
