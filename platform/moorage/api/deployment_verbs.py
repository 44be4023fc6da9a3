"""What an owner does to a deployment besides putting and deleting it: roll back, pause, resume."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts.errors import OrganizationSuspended
from moorage.api import examples
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_deployments import DeploymentSerializer, RollbackFields
from moorage.deployments import queries as questions
from moorage.deployments import services as verbs
from moorage.deployments.errors import BeingDeleted, DeploymentNotFound, RevisionNotFound
from moorage.deployments.models import Deployment

TAG: Final = "Deployments"


class _VerbView(OrganizationView):
    def found(self, name: str) -> Deployment:
        """Raises DeploymentNotFound."""
        return questions.deployment(organization=self.organization, name=name)

    def shown(self, name: str, *, status: int) -> Response:
        """The deployment as it is now."""
        return Response(DeploymentSerializer(self.found(name)).data, status=status)


def _accepted(example: dict[str, Any]) -> dict[int, Answer]:
    return {202: Answer(description="Wanted from now on.", kind=DeploymentSerializer, example=example)}


class RollbackView(_VerbView):
    """An earlier revision again."""

    @operation(
        id="rollBackDeployment",
        tag=TAG,
        summary="Roll back to a revision",
        path=["name"],
        body=RollbackFields,
        body_example={"revision": 1},
        answers=_accepted(examples.PROVISIONING),
        raises=[DeploymentNotFound, RevisionNotFound, BeingDeleted, OrganizationSuspended],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Makes an earlier revision the wanted one again, digests and all. The present one drains once it is ready."""
        verbs.roll_back(deployment=self.found(name), number=self.body["revision"], by=self.actor)
        return self.shown(name, status=202)


class PauseView(_VerbView):
    """None at all."""

    @operation(
        id="pauseDeployment",
        tag=TAG,
        summary="Pause a deployment",
        path=["name"],
        answers=_accepted({**examples.DEPLOYMENT, "is_paused": True}),
        raises=[DeploymentNotFound, BeingDeleted],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Runs no replica until it is resumed; requests do not wake it. Pausing twice changes nothing."""
        verbs.pause(deployment=self.found(name), by=self.actor)
        return self.shown(name, status=202)


class ResumeView(_VerbView):
    """Running again."""

    @operation(
        id="resumeDeployment",
        tag=TAG,
        summary="Resume a deployment",
        path=["name"],
        answers=_accepted(examples.PROVISIONING),
        raises=[DeploymentNotFound, BeingDeleted, OrganizationSuspended],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Undoes a pause: at least one replica of every model starts. Resuming what is not paused changes nothing."""
        verbs.resume(deployment=self.found(name), by=self.actor)
        return self.shown(name, status=202)
