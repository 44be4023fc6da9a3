"""What an organization wants running, and what runs: deployments, revisions, replicas, routes.

Status columns are written by ``states.py`` alone. Rows of a tenant leave through ``.for_organization(organization)``.
"""

from typing import Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from moorage.accounts.models import Organization
from moorage.kernel import clock, ids


def new_deployment_id() -> str:
    """An id for a deployment."""
    return ids.new("dep")


def new_revision_id() -> str:
    """An id for a revision."""
    return ids.new("rev")


def new_replica_id() -> str:
    """An id for a replica."""
    return ids.new("rep")


def new_event_id() -> str:
    """An id for a timeline event."""
    return ids.new("evt")


class DeploymentStatus(models.TextChoices):
    """Where a deployment stands as a whole. Code branches on it; the reason explains it."""

    PROVISIONING = "provisioning", "Provisioning"
    READY = "ready", "Ready"
    IDLE = "idle", "Idle, wakes on a request"
    DEGRADED = "degraded", "Degraded"
    FAILED = "failed", "Failed"
    PAUSED = "paused", "Paused"
    DELETING = "deleting", "Deleting"
    DELETED = "deleted", "Deleted"


class ReplicaStatus(models.TextChoices):
    """The life of one replica, in order; ``failed`` and ``gone`` are its ends."""

    PENDING = "pending", "Pending"
    PLACED = "placed", "Placed"
    PULLING = "pulling", "Pulling"
    STARTING = "starting", "Starting"
    READY = "ready", "Ready"
    DRAINING = "draining", "Draining"
    STOPPING = "stopping", "Stopping"
    FAILED = "failed", "Failed"
    GONE = "gone", "Gone"


class DeploymentQuerySet(models.QuerySet["Deployment"]):
    """Questions about deployments."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)

    def not_deleted(self) -> Self:
        """Those that still exist for their owner."""
        return self.exclude(status=DeploymentStatus.DELETED)


class Deployment(models.Model):
    """A named model service: the mutable intent. ``epoch`` fences its reconcilers."""

    id = models.CharField(primary_key=True, max_length=40, default=new_deployment_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="deployments")
    name = models.CharField(
        max_length=40,
        validators=[RegexValidator(r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$", "Use a–z, 0–9 and single hyphens.")],
    )
    status = models.CharField(max_length=16, choices=DeploymentStatus, default=DeploymentStatus.PROVISIONING)
    reason_code = models.CharField(max_length=48, default="new")
    reason = models.TextField(default="")
    status_changed_at = models.DateTimeField(default=clock.now)
    target = models.ForeignKey("Revision", on_delete=models.PROTECT, null=True, related_name="+")
    is_paused = models.BooleanField(default=False)
    #: Reconciling is work: when it is due, who has it, and the fence that makes a late writer's update touch nothing.
    reconcile_at = models.DateTimeField(default=clock.now)
    lease_until = models.DateTimeField(null=True)
    epoch = models.BigIntegerField(default=0)
    #: Somebody wanted to look while the lease was held: its holder looks once more.
    is_look_wanted = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=clock.now)
    deleted_at = models.DateTimeField(null=True)

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        db_table = "deployment"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], condition=~Q(status="deleted"), name="deployment_name_once"
            ),
        ]
        indexes = [
            models.Index(fields=["reconcile_at"], condition=~Q(status="deleted"), name="deployment_due"),
        ]

    def __str__(self) -> str:
        return self.name


class RevisionQuerySet(models.QuerySet["Revision"]):
    """Questions about revisions."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(deployment__organization=organization)


class Revision(models.Model):
    """An immutable numbered snapshot: the Compose text, the Spec, and every model's pinned digest.

    ``pins`` maps a model key to ``{"artifact": id, "digest", "format", "engine", "served_name"}``. Same content (by
    ``content_hash``) is the same revision, so that a repeated PUT changes nothing.
    """

    id = models.CharField(primary_key=True, max_length=40, default=new_revision_id, editable=False)
    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    compose = models.TextField()
    variables = models.JSONField(default=dict)
    spec = models.JSONField()
    pins = models.JSONField()
    content_hash = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=80)

    objects = RevisionQuerySet.as_manager()

    class Meta:
        db_table = "revision"
        constraints = [
            models.UniqueConstraint(fields=["deployment", "number"], name="revision_number_once"),
            models.UniqueConstraint(fields=["deployment", "content_hash"], name="revision_content_once"),
        ]


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
    exit_code = models.IntegerField(null=True)
    created_at = models.DateTimeField(default=clock.now)
    ready_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    is_permanent_failure = models.BooleanField(default=False)
    #: When it stopped being able to answer; no replica seconds are metered after it.
    ended_at = models.DateTimeField(null=True)
    #: Replica seconds are metered up to here.
    metered_until = models.DateTimeField(null=True)

    objects = ReplicaQuerySet.as_manager()

    class Meta:
        db_table = "replica"
        indexes = [
            models.Index(fields=["deployment"], condition=~Q(status="gone"), name="replica_live"),
        ]


class Scale(models.Model):
    """How many replicas one model of a deployment should have now, and why. Written by the autoscaler's caller."""

    id = models.BigAutoField(primary_key=True)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="scales")
    model_key = models.CharField(max_length=120)
    wanted = models.PositiveIntegerField()
    why = models.CharField(max_length=200)
    decided_at = models.DateTimeField(default=clock.now)
    #: The last apply or resume: idle time counts from it, or from the last request if that is later.
    active_at = models.DateTimeField(default=clock.now)
    #: Since when a smaller number would have been enough; scaling down waits.
    surplus_since = models.DateTimeField(null=True)

    class Meta:
        db_table = "scale"
        constraints = [models.UniqueConstraint(fields=["deployment", "model_key"], name="scale_once_a_model")]


class ReplicaLog(models.Model):
    """The last lines a runner printed, fetched by the provisioning worker when somebody asks or the replica ends."""

    replica = models.OneToOneField(Replica, on_delete=models.CASCADE, primary_key=True, related_name="log")
    text = models.TextField(default="")
    requested_at = models.DateTimeField(null=True)
    fetched_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "replica_log"


class TimelineEventQuerySet(models.QuerySet["TimelineEvent"]):
    """Questions about the timeline."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(deployment__organization=organization)


class TimelineEvent(models.Model):
    """What happened to a deployment, when, why and by whom. Written beside the change, never changed."""

    id = models.CharField(primary_key=True, max_length=40, default=new_event_id, editable=False)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="timeline")
    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, null=True, related_name="timeline")
    code = models.CharField(max_length=48)
    message = models.TextField()
    by = models.CharField(max_length=80)
    at = models.DateTimeField(default=clock.now)

    objects = TimelineEventQuerySet.as_manager()

    class Meta:
        db_table = "timeline_event"
        indexes = [models.Index(fields=["deployment", "-at"], name="timeline_event_by_deployment")]


class Route(models.Model):
    """The row the gateway serves from: one per model of a deployment. ``document`` is a wire Route as JSON."""

    id = models.CharField(primary_key=True, max_length=170)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="routes")
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="routes")
    model_key = models.CharField(max_length=120)
    served_name = models.CharField(max_length=170)
    document = models.JSONField()
    changed_at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "route"
        constraints = [
            models.UniqueConstraint(fields=["organization", "served_name"], name="route_served_name_once"),
        ]


class Wake(models.Model):
    """A gateway has a request for an idle route. One row, however many requests wait."""

    route_id = models.CharField(primary_key=True, max_length=170)
    deployment_id = models.CharField(max_length=40)
    model_key = models.CharField(max_length=120)
    requested_at = models.DateTimeField()

    class Meta:
        db_table = "wake"


class RouteActivity(models.Model):
    """What one gateway process last said of one route: its load, and when the last request came."""

    pk = models.CompositePrimaryKey("route_id", "gateway_id")
    route_id = models.CharField(max_length=170)
    gateway_id = models.CharField(max_length=64)
    in_flight = models.IntegerField(default=0)
    waiting = models.IntegerField(default=0)
    last_request_at = models.DateTimeField(null=True)
    #: Requests in flight by replica id.
    replicas = models.JSONField(default=dict)
    reported_at = models.DateTimeField()

    class Meta:
        db_table = "route_activity"
