"""One revision on its way to take over from another."""

from django.db import models
from django.db.models import Q

from moorage.deployments.models.deployment import Deployment, Revision
from moorage.kernel import clock, ids


def new_update_id() -> str:
    """An id for an update."""
    return ids.new("upd")


class UpdateState(models.TextChoices):
    """Where an update stands; a deployment has at most one that is ``trial`` or ``taking_over``."""

    TRIAL = "trial", "On trial"
    TAKING_OVER = "taking_over", "Taking over"
    DONE = "done", "Done"
    ROLLED_BACK = "rolled_back", "Rolled back"
    SUPERSEDED = "superseded", "Superseded"


class Update(models.Model):
    """One revision takes over from another: since when, how far it is, and what was decided about it and why."""

    OPEN = (UpdateState.TRIAL, UpdateState.TAKING_OVER)

    id = models.CharField(primary_key=True, max_length=40, default=new_update_id, editable=False)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="updates")
    revision = models.ForeignKey(Revision, on_delete=models.CASCADE, related_name="+")
    #: What served before; goes back to serving if the update fails.
    baseline = models.ForeignKey(Revision, on_delete=models.CASCADE, null=True, related_name="+")
    state = models.CharField(max_length=16, choices=UpdateState)
    why = models.TextField(default="")
    #: A replica that served was drained for want of room, so there is something to bring back.
    has_made_way = models.BooleanField(default=False)
    #: When the first replica of the trial was ready; its time counts from then.
    trial_since = models.DateTimeField(null=True)
    #: By model key, as they were at the last verdict: ``{"baseline": figures, "canary": figures, "verdict", "why"}``.
    figures = models.JSONField(default=dict)
    judged_at = models.DateTimeField(null=True)
    by = models.CharField(max_length=80)
    created_at = models.DateTimeField(default=clock.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "deployment_update"
        constraints = [
            models.UniqueConstraint(
                fields=["deployment"], condition=Q(state__in=["trial", "taking_over"]), name="update_open_once"
            ),
        ]
        indexes = [models.Index(fields=["deployment", "-created_at"], name="update_by_deployment")]
