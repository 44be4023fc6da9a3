"""Replicas: what runs, and how it was started."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, paging
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_replicas import ReplicaSerializer, ReplicasFields
from moorage.deployments import queries as questions
from moorage.deployments.errors import DeploymentNotFound

TAG: Final = "Replicas"


class ReplicasView(OrganizationView):
    """The replicas of a deployment."""

    @operation(
        id="listReplicas",
        tag=TAG,
        summary="List replicas",
        path=["name"],
        query=ReplicasFields,
        answers={
            200: Answer(
                description="The replicas, newest first.",
                kind=paging.page_of(ReplicaSerializer),
                example=examples.page(examples.REPLICA),
            )
        },
        raises=[DeploymentNotFound, paging.InvalidCursor],
    )
    def get(self, _request: Request, name: str) -> Response:
        """Every copy that has, or may have, a container: its status with the reason, its clocks, its arguments."""
        deployment = questions.deployment(organization=self.organization, name=name)
        rows = questions.replicas(deployment, with_gone=self.query["with_gone"])
        return paging.page(rows, order="-id", query=self.query).answer(ReplicaSerializer)
