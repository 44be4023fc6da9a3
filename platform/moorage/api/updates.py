"""An update that is under way: look at it, promote what is on trial, or take it back."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts.errors import OrganizationSuspended
from moorage.api import examples
from moorage.api.deployment_verbs import VerbView, accepted
from moorage.api.examples_updates import UPDATE
from moorage.api.operation import Answer, operation
from moorage.api.serializers_updates import UpdateSerializer
from moorage.deployments import services as verbs
from moorage.deployments import updates
from moorage.deployments.errors import BeingDeleted, DeploymentNotFound, NoTrial, NoUpdate, UpdateNotFound

TAG: Final = "Deployments"


class UpdateView(VerbView):
    """The last update."""

    @operation(
        id="getUpdate",
        tag=TAG,
        summary="Look at the last update",
        path=["name"],
        answers={200: Answer(description="It, under way or over.", kind=UpdateSerializer, example=UPDATE)},
        raises=[DeploymentNotFound, UpdateNotFound],
    )
    def get(self, _request: Request, name: str) -> Response:
        """Which revision takes over from which, how far that is, and, of a trial, what both have answered."""
        found = updates.last_of(self.found(name))
        if found is None:
            raise UpdateNotFound
        return Response(UpdateSerializer(found).data)


class PromoteView(VerbView):
    """All requests for the revision on trial."""

    @operation(
        id="promoteUpdate",
        tag=TAG,
        summary="Promote the revision on trial",
        path=["name"],
        answers=accepted(examples.DEPLOYMENT),
        raises=[DeploymentNotFound, NoTrial, BeingDeleted],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Ends the trial: the new revision takes over, the one before drains."""
        verbs.promote(deployment=self.found(name), by=self.actor)
        return self.shown(name, status=202)


class RollBackUpdateView(VerbView):
    """What served before."""

    @operation(
        id="rollBackUpdate",
        tag=TAG,
        summary="Take the update back",
        path=["name"],
        answers=accepted(examples.PROVISIONING),
        raises=[DeploymentNotFound, NoUpdate, BeingDeleted, OrganizationSuspended],
    )
    def post(self, _request: Request, name: str) -> Response:
        """The revision that served before the update that is under way serves alone again."""
        verbs.roll_back_update(deployment=self.found(name), by=self.actor)
        return self.shown(name, status=202)
