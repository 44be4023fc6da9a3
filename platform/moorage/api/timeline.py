"""What happened to a deployment, when, why and by whom."""

from typing import Final

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, paging
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_replicas import TimelineEventSerializer
from moorage.deployments import queries as questions
from moorage.deployments.errors import DeploymentNotFound

TAG: Final = "Replicas"


class TimelineFields(paging.PageFields):
    """Which events."""

    code = serializers.RegexField(
        r"^[a-z_]{1,48}\*?$",
        required=False,
        help_text="Only events of this code; with `*` at its end of all codes that begin so: `replica_*`.",
    )
    replica = serializers.CharField(required=False, max_length=40, help_text="Only events of this replica.")
    since = serializers.DateTimeField(required=False, help_text="Only events from this moment on.")
    until = serializers.DateTimeField(required=False, help_text="Only events before this moment.")


class TimelineView(OrganizationView):
    """What happened to a deployment."""

    @operation(
        id="getTimeline",
        tag=TAG,
        summary="Read a deployment's timeline",
        path=["name"],
        query=TimelineFields,
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
        """Every change of status of the deployment and its replicas with its reason, everything that Moorage did by
        itself, and every deed of a person or a key."""
        deployment = questions.deployment(organization=self.organization, name=name)
        rows = questions.timeline(
            deployment,
            code=self.query.get("code", ""),
            replica_id=self.query.get("replica", ""),
            since=self.query.get("since"),
            until=self.query.get("until"),
        )
        return paging.page(rows, order="-id", query=self.query).answer(TimelineEventSerializer)
