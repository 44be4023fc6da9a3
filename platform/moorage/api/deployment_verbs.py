"""What an owner does to a deployment besides putting and deleting it: roll back, pause, resume."""

from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts.errors import OrganizationSuspended
from moorage.api import examples
from moorage.api.doors import OrganizationView
from moorage.api.examples_updates import ROLLBACK_PLAN
from moorage.api.operation import Answer, operation
from moorage.api.serializers_deployments import DeploymentSerializer, RollbackFields
from moorage.api.serializers_updates import RollbackPlanSerializer
from moorage.deployments import forecast
from moorage.deployments import queries as questions
from moorage.deployments import services as verbs
from moorage.deployments.errors import BeingDeleted, DeploymentNotFound, RevisionNotFound
from moorage.deployments.models import Deployment

TAG: Final = "Deployments"


class VerbView(OrganizationView):
    """Of one deployment."""

    def found(self, name: str) -> Deployment:
        """Raises DeploymentNotFound."""
        return questions.deployment(organization=self.organization, name=name)

    def shown(self, name: str, *, status: int) -> Response:
        """The deployment as it is now."""
        return Response(DeploymentSerializer(self.found(name)).data, status=status)


def accepted(example: dict[str, Any]) -> dict[int, Answer]:
    """What a verb answers."""
    return {202: Answer(description="Wanted from now on.", kind=DeploymentSerializer, example=example)}


class RollbackView(VerbView):
    """An earlier revision again."""

    @operation(
        id="rollBackDeployment",
        tag=TAG,
        summary="Roll back to a revision",
        path=["name"],
        body=RollbackFields,
        body_example={"revision": 1},
        answers={
            200: Answer(
                description="With `dry_run`: what it would do.", kind=RollbackPlanSerializer, example=ROLLBACK_PLAN
            ),
            **accepted(examples.PROVISIONING),
        },
        raises=[DeploymentNotFound, RevisionNotFound, BeingDeleted, OrganizationSuspended],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Makes any other revision the wanted one, digests and all, without a trial. The present one drains once it is
        ready; weights that are on the node are not brought again. With `dry_run` it says what it would do."""
        if self.body["dry_run"]:
            return self._plan(name)
        verbs.roll_back(deployment=self.found(name), number=self.body["revision"], by=self.actor)
        return self.shown(name, status=202)

    def _plan(self, name: str) -> Response:
        deployment = self.found(name)
        revision = questions.revision(deployment=deployment, number=self.body["revision"])
        plan = {"revision": revision.number, "updates": forecast.of_revision(deployment, revision)}
        return Response(RollbackPlanSerializer(plan, context={"organization": self.organization}).data)


class PauseView(VerbView):
    """None at all."""

    @operation(
        id="pauseDeployment",
        tag=TAG,
        summary="Pause a deployment",
        path=["name"],
        answers=accepted({**examples.DEPLOYMENT, "is_paused": True}),
        raises=[DeploymentNotFound, BeingDeleted],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Runs no replica until it is resumed; requests do not wake it. Pausing twice changes nothing."""
        verbs.pause(deployment=self.found(name), by=self.actor)
        return self.shown(name, status=202)


class ResumeView(VerbView):
    """Running again."""

    @operation(
        id="resumeDeployment",
        tag=TAG,
        summary="Resume a deployment",
        path=["name"],
        answers=accepted(examples.PROVISIONING),
        raises=[DeploymentNotFound, BeingDeleted, OrganizationSuspended],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Undoes a pause: at least one replica of every model starts. Resuming what is not paused changes nothing."""
        verbs.resume(deployment=self.found(name), by=self.actor)
        return self.shown(name, status=202)


class RetryView(VerbView):
    """Another try at once."""

    @operation(
        id="retryDeployment",
        tag=TAG,
        summary="Try again now",
        path=["name"],
        answers=accepted(examples.PROVISIONING),
        raises=[DeploymentNotFound, BeingDeleted, OrganizationSuspended],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Forgives what has failed and tries again now, also what is not tried again by itself. Where nothing has
        failed nothing happens."""
        verbs.try_again(deployment=self.found(name), by=self.actor)
        return self.shown(name, status=202)
