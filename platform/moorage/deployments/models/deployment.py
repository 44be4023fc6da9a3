"""A named model service and its immutable revisions: what an organization wants running."""

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
    #: Failures before this moment count no more: somebody has changed something, or wants it tried again.
    tries_from = models.DateTimeField(null=True)
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
