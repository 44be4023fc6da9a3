"""Replicas: what runs, how it was started, what it says; and the timeline of their deployment."""

from typing import Final

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, paging
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.renderers import TextRenderer
from moorage.api.serializers_replicas import (
    ReplicaLogSerializer,
    ReplicaSerializer,
    ReplicasFields,
    TimelineEventSerializer,
)
from moorage.deployments import logs
from moorage.deployments import queries as questions
from moorage.deployments.errors import DeploymentNotFound, ReplicaNotFound

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


class ReplicaLogsView(OrganizationView):
    """What a runner printed."""

    renderer_classes = [TextRenderer, JSONRenderer]

    @operation(
        id="getReplicaLogs",
        tag=TAG,
        summary="Read a replica's log",
        path=["name", "replica_id"],
        answers={
            200: Answer(
                description="The last lines as text; JSON with `Accept: application/json`.",
                kind=ReplicaLogSerializer,
                example={"replica_id": examples.REPLICA["id"], "text": examples.LOG_TEXT},
                texts={"text/plain": examples.LOG_TEXT},
            )
        },
        raises=[DeploymentNotFound, ReplicaNotFound],
    )
    def get(self, request: Request, name: str, replica_id: str) -> Response:
        """The runner's last lines (at most 200): fresh if its node answers within five seconds, else the last known.
        They stay readable after the replica is gone."""
        deployment = questions.deployment(organization=self.organization, name=name)
        text = logs.tail(questions.replica(deployment=deployment, replica_id=replica_id))
        is_json = request.accepted_renderer.format == "json"
        return Response({"replica_id": replica_id, "text": text} if is_json else text)


class TimelineView(OrganizationView):
    """What happened to a deployment."""

    @operation(
        id="getTimeline",
        tag=TAG,
        summary="Read a deployment's timeline",
        path=["name"],
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The events, newest first.",
                kind=paging.page_of(TimelineEventSerializer),
                example=examples.page(examples.EVENT),
            )
        },
        raises=[DeploymentNotFound, paging.InvalidCursor],
    )
    def get(self, _request: Request, name: str) -> Response:
        """Every change of status of the deployment and its replicas, and every deed of a person or a key."""
        deployment = questions.deployment(organization=self.organization, name=name)
        return paging.page(questions.timeline(deployment), order="-id", query=self.query).answer(
            TimelineEventSerializer
        )
