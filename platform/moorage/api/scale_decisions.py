"""Why the autoscaler chose the number of replicas it chose."""

from typing import Final

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, paging
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.deployments import queries as questions
from moorage.deployments import scale_history
from moorage.deployments.errors import DeploymentNotFound
from moorage.deployments.models import ScaleDecision

TAG: Final = "Replicas"

EXAMPLE: Final = {
    "id": "scl_01k7wq0c9v7h3t5a2m8xj4n6bp",
    "model_key": "llm",
    "from": 1,
    "to": 3,
    "why": "4 in flight and 5 waiting at 4 a replica, over twice what is ready.",
    "signals": {"in_flight": 4, "waiting": 5, "queue_seconds": 1.2, "ready": 1, "per_replica": 4, "is_panic": True},
    "at": examples.EVENT["at"],
}


class ScaleDecisionSerializer(serializers.Serializer[ScaleDecision]):
    """One change of the wanted number of replicas of one model."""

    id = serializers.CharField()
    model_key = serializers.CharField()
    to = serializers.IntegerField(source="wanted", help_text="Replicas wanted from then on.")
    why = serializers.CharField(help_text="For people.")
    signals = serializers.DictField(help_text="The figures it was decided by; empty where a person's deed decided.")
    at = serializers.DateTimeField()

    def get_fields(self) -> "dict[str, serializers.Field]":
        """With ``from``, which is a word of Python."""
        before = serializers.IntegerField(source="before", help_text="Replicas wanted until then.")
        return {**super().get_fields(), "from": before}


class ScaleDecisionsView(OrganizationView):
    """The decisions of the autoscaler about a deployment."""

    @operation(
        id="listScaleDecisions",
        tag=TAG,
        summary="Read why a deployment was scaled",
        path=["name"],
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The decisions, newest first.",
                kind=paging.page_of(ScaleDecisionSerializer),
                example=examples.page(EXAMPLE),
            )
        },
        raises=[DeploymentNotFound, paging.InvalidCursor],
    )
    def get(self, _request: Request, name: str) -> Response:
        """Every change of the wanted number of replicas in the last 30 days: from what to what, why, and the figures
        that the gateways had told."""
        deployment = questions.deployment(organization=self.organization, name=name)
        page = paging.page(scale_history.decisions(deployment), order="-id", query=self.query)
        return page.answer(ScaleDecisionSerializer)
