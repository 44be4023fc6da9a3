"""One running copy of one model: its life, what it did when, how it woke, whether it gives tokens."""

from typing import Self

from django.db import models
from django.db.models import Q

from moorage.accounts.models import Organization
from moorage.deployments.models.deployment import Deployment, Revision
from moorage.kernel import clock, ids


def new_replica_id() -> str:
    """An id for a replica."""
    return ids.new("rep")


class ReplicaStatus(models.TextChoices):
    """The life of one replica, in order; ``failed`` and ``gone`` are its ends.

    A replica that nobody calls may sleep: ``frozen`` (its container is paused, its room kept) and ``stopped`` (its
    container is kept, its process has ended and its room is given back).
    """

    PENDING = "pending", "Pending"
    PLACED = "placed", "Placed"
    PULLING = "pulling", "Pulling"
    STARTING = "starting", "Starting"
    READY = "ready", "Ready"
    DRAINING = "draining", "Draining"
    FROZEN = "frozen", "Frozen"
    STOPPED = "stopped", "Stopped"
    STOPPING = "stopping", "Stopping"
    FAILED = "failed", "Failed"
    GONE = "gone", "Gone"


class ReplicaQuerySet(models.QuerySet["Replica"]):
    """Questions about replicas."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(deployment__organization=organization)

    def live(self) -> Self:
        """Those that have, or may have, a container or a reservation."""
        return self.exclude(status__in=[ReplicaStatus.GONE])


class Replica(models.Model):
    """One running copy of one model of a revision. It is never restarted: what has failed is replaced.

    Whoever drives it through its life holds its lease; ``epoch`` fences every write of an earlier holder.
    """

    id = models.CharField(primary_key=True, max_length=40, default=new_replica_id, editable=False)
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="replicas")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="replicas")
    model_key = models.CharField(max_length=120)
    status = models.CharField(max_length=16, choices=ReplicaStatus, default=ReplicaStatus.PENDING)
    reason_code = models.CharField(max_length=48, default="new")
    reason = models.TextField(default="")
    status_changed_at = models.DateTimeField(default=clock.now)
    lease_until = models.DateTimeField(null=True)
    epoch = models.BigIntegerField(default=0)
    node_id = models.CharField(max_length=40, default="", blank=True)
    container_name = models.CharField(max_length=128, default="", blank=True)
    engine = models.CharField(max_length=16, default="", blank=True)
    engine_version = models.CharField(max_length=80, default="", blank=True)
    runtime = models.CharField(max_length=16, default="", blank=True)
    socket = models.CharField(max_length=107, default="", blank=True)
    #: The exact argument list and environment that the runner was started with.
    argv = models.JSONField(default=list)
    environment = models.JSONField(default=dict)
    pulled_bytes = models.BigIntegerField(default=0)
    total_bytes = models.BigIntegerField(default=0)
    #: How the pull goes: a progress.Pull as JSON; empty before it begins.
    pull = models.JSONField(default=dict)
    #: The most memory that its container was seen to hold.
    peak_memory_bytes = models.BigIntegerField(null=True)
    exit_code = models.IntegerField(null=True)
    created_at = models.DateTimeField(default=clock.now)
    ready_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    is_permanent_failure = models.BooleanField(default=False)
    #: When it stopped being able to answer; no replica seconds are metered after it.
    ended_at = models.DateTimeField(null=True)
    #: Asleep and wanted awake, since then: its driver brings it back. None: let it sleep.
    wake_at = models.DateTimeField(null=True)
    #: Replica seconds are metered up to here.
    metered_until = models.DateTimeField(null=True)

    objects = ReplicaQuerySet.as_manager()

    class Meta:
        db_table = "replica"
        indexes = [
            models.Index(fields=["deployment"], condition=~Q(status="gone"), name="replica_live"),
        ]


class StatusSpan(models.Model):
    """A replica took on a status; it kept it until its next span. Metering reads it and forgets what it has metered."""

    id = models.BigAutoField(primary_key=True)
    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, related_name="spans")
    status = models.CharField(max_length=16)
    began_at = models.DateTimeField()

    class Meta:
        db_table = "replica_status_span"
        indexes = [models.Index(fields=["replica", "id"], name="status_span_by_replica")]


class Awakening(models.Model):
    """How long one return to service took, from the wish to the moment its engine could answer. It decides where
    replicas of the model sleep from then on."""

    id = models.BigAutoField(primary_key=True)
    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, related_name="awakenings")
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="awakenings")
    model_key = models.CharField(max_length=120)
    #: What it came back from: frozen | stopped | absent.
    tier = models.CharField(max_length=16)
    seconds = models.FloatField()
    #: When each stage was passed, in seconds from the wish.
    stages = models.JSONField(default=dict)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "awakening"
        indexes = [models.Index(fields=["deployment", "model_key", "-at"], name="awakening_by_model")]


class Vitality(models.Model):
    """What is known of a ready replica's being alive beyond its ``/health``: what the next look judges by."""

    replica = models.OneToOneField(Replica, on_delete=models.CASCADE, primary_key=True, related_name="vitality")
    probed_at = models.DateTimeField(null=True)
    #: The last time that a token was seen, by a gateway or by a probe.
    token_at = models.DateTimeField(null=True)
    #: How often it was asked for a token beside its work: its engine has counted them too.
    probes = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    #: CPU time and token counters of the engine when it was last asked, and when either of them last moved.
    cpu_seconds = models.FloatField(null=True)
    counted_tokens = models.BigIntegerField(null=True)
    worked_at = models.DateTimeField(null=True)
    stuck_at = models.DateTimeField(null=True)
    detail = models.TextField(default="")

    class Meta:
        db_table = "replica_vitality"
