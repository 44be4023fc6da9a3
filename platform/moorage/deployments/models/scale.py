"""How many replicas a model should have, and why."""

from typing import Self

from django.db import models

from moorage.accounts.models import Organization
from moorage.deployments.models.deployment import Deployment
from moorage.kernel import clock, ids


def new_decision_id() -> str:
    """An id for a decision of the autoscaler."""
    return ids.new("scl")


class Scale(models.Model):
    """How many replicas one model of a deployment should have now, and why. Written by the autoscaler's caller."""

    id = models.BigAutoField(primary_key=True)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="scales")
    model_key = models.CharField(max_length=120)
    wanted = models.PositiveIntegerField()
    why = models.CharField(max_length=300)
    decided_at = models.DateTimeField(default=clock.now)
    #: The last apply or resume: idle time counts from it, or from the last request if that is later.
    active_at = models.DateTimeField(default=clock.now)
    #: Since when a smaller number would have been enough; scaling down waits.
    surplus_since = models.DateTimeField(null=True)
    #: The load of the last minute (load_window.py), so that any reconciler can decide.
    window = models.JSONField(default=dict)
    #: A sudden rise was seen: none is given up until then.
    panic_until = models.DateTimeField(null=True)

    class Meta:
        db_table = "scale"
        constraints = [models.UniqueConstraint(fields=["deployment", "model_key"], name="scale_once_a_model")]


class ScaleDecisionQuerySet(models.QuerySet["ScaleDecision"]):
    """Questions about decisions of the autoscaler."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(deployment__organization=organization)


class ScaleDecision(models.Model):
    """The autoscaler changed its mind: from what to what, why, and the figures it saw. Never changed, kept for
    weeks."""

    id = models.CharField(primary_key=True, max_length=40, default=new_decision_id, editable=False)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="scale_decisions")
    model_key = models.CharField(max_length=120)
    before = models.PositiveIntegerField()
    wanted = models.PositiveIntegerField()
    why = models.CharField(max_length=300)
    signals = models.JSONField(default=dict)
    at = models.DateTimeField(default=clock.now)

    objects = ScaleDecisionQuerySet.as_manager()

    class Meta:
        db_table = "scale_decision"
        indexes = [
            models.Index(fields=["deployment", "-at"], name="scale_decision_by_deployment"),
            models.Index(fields=["at"], name="scale_decision_by_time"),
        ]
