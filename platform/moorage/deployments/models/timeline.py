"""What happened, and what runners said."""

from typing import Self

from django.db import models

from moorage.accounts.models import Organization
from moorage.deployments.models.deployment import Deployment
from moorage.deployments.models.replica import Replica
from moorage.kernel import clock, ids


def new_event_id() -> str:
    """An id for a timeline event."""
    return ids.new("evt")


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
        indexes = [
            models.Index(fields=["deployment", "-at"], name="timeline_event_by_deployment"),
            models.Index(fields=["deployment", "-id"], name="timeline_event_by_id"),
        ]


class RunnerLine(models.Model):
    """One line that a runner printed, masked. The last ones of every replica that somebody follows; a crash of the
    database may lose them all. Ids grow in the order of commits within a deployment: a reader goes on from the last."""

    id = models.BigAutoField(primary_key=True)
    replica = models.ForeignKey(Replica, on_delete=models.CASCADE, related_name="lines")
    deployment_id = models.CharField(max_length=40)
    stream = models.CharField(max_length=8)
    at = models.DateTimeField()
    text = models.TextField()

    class Meta:
        db_table = "runner_line"
        indexes = [models.Index(fields=["deployment_id", "id"], name="runner_line_by_deployment")]


class LogFollower(models.Model):
    """Somebody reads along. Fresh rows are what an organization's limit counts, and why the worker follows a runner."""

    id = models.BigAutoField(primary_key=True)
    organization_id = models.CharField(max_length=40)
    deployment_id = models.CharField(max_length=40)
    #: Only this replica; empty: all of the deployment.
    replica_id = models.CharField(max_length=40, default="", blank=True)
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "log_follower"
        indexes = [models.Index(fields=["organization_id"], name="log_follower_by_organization")]
