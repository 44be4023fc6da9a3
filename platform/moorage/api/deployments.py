"""Deployments: put a Compose file, look, wait, delete."""

from typing import Any, Final

from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from moorage.accounts.errors import OrganizationSuspended
from moorage.api import examples, paging, waiting
from moorage.api.doors import OrganizationView
from moorage.api.errors import BodyTooLarge, DeploymentFailed, TooManyWaiting, WaitTimeout
from moorage.api.fields import read
from moorage.api.operation import Answer, operation
from moorage.api.parsers import COMPOSE_PARSERS, ComposeText
from moorage.api.serializers_deployments import (
    DeleteFields,
    DeploymentSerializer,
    DeploymentSummarySerializer,
    PlanSerializer,
    PutBodyFields,
    PutFields,
)
from moorage.artifacts.errors import RegistryUnreachable
from moorage.compose.problems import SpecInvalid
from moorage.compose.source_text import MAX_BYTES
from moorage.deployments import draft as drafts
from moorage.deployments import preview as previews
from moorage.deployments import queries as questions
from moorage.deployments import services as verbs
from moorage.deployments.errors import BeingDeleted, DeploymentNotFound, InvalidName, ServedNameTaken
from moorage.deployments.models import Deployment, DeploymentStatus, Revision
from moorage.kernel.errors import InvalidInput

TAG: Final = "Deployments"
_VARIABLE: Final = "var."


class DeploymentsView(OrganizationView):
    """All deployments of the organization."""

    @operation(
        id="listDeployments",
        tag=TAG,
        summary="List deployments",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The deployments by name.",
                kind=paging.page_of(DeploymentSummarySerializer),
                example=examples.page(examples.SUMMARY),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """The organization's deployments by name. Deleted ones are not among them; their usage stays."""
        rows = questions.deployments_of(self.organization)
        return paging.page(rows, order="name", query=self.query).answer(DeploymentSummarySerializer)


class DeploymentView(OrganizationView):
    """One deployment by its name."""

    parser_classes = list(COMPOSE_PARSERS)

    @operation(
        id="getDeployment",
        tag=TAG,
        summary="Look at a deployment",
        path=["name"],
        answers={200: Answer(description="The deployment.", kind=DeploymentSerializer, example=examples.DEPLOYMENT)},
        raises=[DeploymentNotFound],
    )
    def get(self, _request: Request, name: str) -> Response:
        """Where it stands and why, what it serves, and the environment its services need."""
        return Response(DeploymentSerializer(questions.deployment(organization=self.organization, name=name)).data)

    @operation(
        id="putDeployment",
        tag=TAG,
        summary="Put a Compose file",
        path=["name"],
        query=PutFields,
        prefix=_VARIABLE,
        parameters=[
            OpenApiParameter(
                f"{_VARIABLE}NAME",
                str,
                description="The value of the variable NAME, for `${NAME}` in the file. Any number of them.",
            )
        ],
        body=PutBodyFields,
        body_example={"compose": examples.COMPOSE, "variables": {}},
        other_bodies={
            parser.media_type: examples.COMPOSE for parser in COMPOSE_PARSERS if parser.media_type != "application/json"
        },
        answers={
            200: Answer(
                description="Nothing had to change; or, with `wait=ready`, it is ready; or, with `dry_run`, the plan.",
                kind=PolymorphicProxySerializer(
                    component_name="DeploymentOrPlan",
                    serializers=[DeploymentSerializer, PlanSerializer],
                    resource_type_field_name=None,
                ),
                example=examples.DEPLOYMENT,
                more={"dry_run": examples.PLAN},
            ),
            202: Answer(
                description="It is wanted from now on; the header Location says where to look.",
                kind=DeploymentSerializer,
                example=examples.PROVISIONING,
            ),
        },
        raises=[
            SpecInvalid,
            InvalidName,
            ServedNameTaken,
            BeingDeleted,
            DeploymentFailed,
            OrganizationSuspended,
            RegistryUnreachable,
            TooManyWaiting,
            WaitTimeout,
        ],
    )
    def put(self, request: Request, name: str) -> Response:
        """Makes the file what you want running under this name, whether or not it existed.

        Send the file itself (`curl -T compose.yaml` with a YAML content type, or `--data-binary @compose.yaml`), or
        JSON with the file in `compose`. All problems of a file are answered at once, each with its line. The same
        content again is the same revision and changes nothing, so sending it again is always safe. With `wait=ready`
        the answer comes when one real token has come back from every model, or when it has failed.
        """
        text, variables = self._file(request)
        if self.query["dry_run"]:
            return self._plan(name, text, variables)
        applied = verbs.apply(
            organization=self.organization, name=name, compose_text=text, variables=variables, by=self.actor
        )
        if "wait" in self.query:
            self._wait_until_ready(applied.deployment, applied.revision)
        found = questions.deployment(organization=self.organization, name=name)
        is_pending = applied.is_changed and "wait" not in self.query
        return Response(
            DeploymentSerializer(found, context={"warnings": applied.warnings}).data,
            status=status.HTTP_202_ACCEPTED if is_pending else status.HTTP_200_OK,
            headers={"Location": reverse("api:deployment", kwargs={"name": name})},
        )

    @operation(
        id="deleteDeployment",
        tag=TAG,
        summary="Delete a deployment",
        path=["name"],
        query=DeleteFields,
        answers={
            202: Answer(
                description="Its routes are gone; its replicas drain and are removed.",
                kind=DeploymentSerializer,
                example={**examples.DEPLOYMENT, "status": "deleting", "reason_code": "deleted"},
            ),
            204: Answer(description="With `wait=gone`: nothing of it is left."),
        },
        raises=[DeploymentNotFound, TooManyWaiting, WaitTimeout],
    )
    def delete(self, _request: Request, name: str) -> Response:
        """Ends the deployment. Requests that are being answered are finished first; what was used stays on the bill."""
        found = questions.deployment(organization=self.organization, name=name)
        verbs.delete(deployment=found, by=self.actor)
        if "wait" not in self.query:
            return Response(DeploymentSerializer(found).data, status=status.HTTP_202_ACCEPTED)
        if not waiting.until(lambda: self._is_gone(found) or None, seconds=self.query["timeout"]):
            raise WaitTimeout(
                f"Its replicas are not all gone after {self.query['timeout']} s; they will be. GET"
                f" /api/v1/deployments/{name} answers 404 then."
            )
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _file(self, request: Request) -> tuple[str, dict[str, str]]:
        """The Compose text and the variables of body and query together."""
        prefixed = {
            key.removeprefix(_VARIABLE): str(value)
            for key, value in request.query_params.items()
            if key.startswith(_VARIABLE)
        }
        sent: Any = request.data or ComposeText()
        if isinstance(sent, ComposeText):
            return str(sent), prefixed
        body = read(PutBodyFields, sent)
        if len(body["compose"].encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise BodyTooLarge
        twice = sorted(prefixed.keys() & body["variables"].keys())
        if twice:
            raise InvalidInput(
                f"The variable {twice[0]} is in the body and in the address. Send it once.", param=twice[0]
            )
        variables: dict[str, str] = body["variables"]
        return body["compose"], {**variables, **prefixed}

    def _plan(self, name: str, text: str, variables: dict[str, str]) -> Response:
        prepared = drafts.draft(organization=self.organization, name=name, compose_text=text, variables=variables)
        preview = previews.preview(organization=self.organization, draft=prepared)
        return Response(PlanSerializer(preview, context={"organization": self.organization}).data)

    def _wait_until_ready(self, deployment: Deployment, revision: Revision) -> None:
        def look() -> bool | None:
            deployment.refresh_from_db()
            return questions.has_settled(deployment, revision)

        match waiting.until(look, seconds=self.query["timeout"]):
            case None:
                raise WaitTimeout(
                    f"It is {deployment.status} after {self.query['timeout']} s: {deployment.reason} It goes on without"
                    f" you; look again with GET /api/v1/deployments/{deployment.name}."
                )
            case False if deployment.target_id != revision.pk:
                raise DeploymentFailed("Another revision was applied while you waited, and took over.")
            case False:
                raise DeploymentFailed(f"It is {deployment.status}: {deployment.reason}")

    def _is_gone(self, deployment: Deployment) -> bool:
        rows = Deployment.objects.for_organization(self.organization).filter(pk=deployment.pk)
        return not rows.exclude(status=DeploymentStatus.DELETED).exists()
