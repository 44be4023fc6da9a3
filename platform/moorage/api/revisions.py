"""Revisions: what a deployment was and is, each with its pinned digests."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, paging
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_revisions import RevisionSerializer, RevisionSummarySerializer
from moorage.deployments import queries as questions
from moorage.deployments.errors import DeploymentNotFound, RevisionNotFound

TAG: Final = "Revisions"


class RevisionsView(OrganizationView):
    """All revisions of a deployment."""

    @operation(
        id="listRevisions",
        tag=TAG,
        summary="List revisions",
        path=["name"],
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The revisions, newest first.",
                kind=paging.page_of(RevisionSummarySerializer),
                example=examples.page(examples.REVISION_SUMMARY),
            )
        },
        raises=[DeploymentNotFound, paging.InvalidCursor],
    )
    def get(self, _request: Request, name: str) -> Response:
        """Every revision the deployment has had, newest first. A revision never changes."""
        deployment = questions.deployment(organization=self.organization, name=name)
        page = paging.page(questions.revisions(deployment), order="-number", query=self.query)
        return page.answer(RevisionSummarySerializer, context={"target_id": deployment.target_id})


class RevisionView(OrganizationView):
    """One revision by its number."""

    @operation(
        id="getRevision",
        tag=TAG,
        summary="Look at a revision",
        path=["name", "number"],
        answers={200: Answer(description="The revision.", kind=RevisionSerializer, example=examples.REVISION)},
        raises=[DeploymentNotFound, RevisionNotFound],
    )
    def get(self, _request: Request, name: str, number: int) -> Response:
        """The revision with the Compose file and the variables it was made from."""
        deployment = questions.deployment(organization=self.organization, name=name)
        found = questions.revision(deployment=deployment, number=number)
        return Response(RevisionSerializer(found, context={"target_id": deployment.target_id}).data)
