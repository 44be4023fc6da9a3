"""The environment that services need to reach their models: to download as an env file, or as JSON."""

from typing import Any, Final

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.renderers import TextRenderer
from moorage.api.serializers_deployments import (
    EnvironmentFields,
    ServiceEnvironmentSerializer,
    environment_of,
    variables_document,
)
from moorage.compose.environment import as_env_file
from moorage.deployments import queries as questions
from moorage.deployments.errors import DeploymentNotFound
from moorage.kernel.errors import NotFound

TAG: Final = "Deployments"


class ServiceNotFound(NotFound):
    """No service of this name binds a model in this deployment's Compose file."""

    code = "service_not_found"


class EnvironmentView(OrganizationView):
    """By service."""

    renderer_classes = [TextRenderer, JSONRenderer]

    @operation(
        id="getEnvironment",
        tag=TAG,
        summary="Download the environment of a service",
        path=["name"],
        query=EnvironmentFields,
        answers={
            200: Answer(
                description="An env file; JSON with `Accept: application/json`.",
                kind=ServiceEnvironmentSerializer,
                example={"environment": examples.ENVIRONMENT},
                texts={"text/plain": examples.ENV_FILE},
            )
        },
        raises=[DeploymentNotFound, ServiceNotFound],
    )
    def get(self, request: Request, name: str) -> Response:
        """The variables of one service, or of all, each under a comment with its name. No secret is among them."""
        found = environment_of(questions.deployment(organization=self.organization, name=name))
        service: str | None = self.query.get("service")
        if service is not None:
            if service not in found:
                known = ", ".join(found) or "none"
                raise ServiceNotFound(f"No service of this name binds a model here. Those that do: {known}.")
            found = {service: found[service]}
        if request.accepted_renderer.format == "json":
            return Response({"environment": variables_document(found)})
        texts: dict[str, Any] = {name: as_env_file(variables) for name, variables in found.items()}
        body = texts[service] if service is not None else "".join(f"# {key}\n{text}" for key, text in texts.items())
        filename = f"{name}.{service}.env" if service is not None and service.isidentifier() else f"{name}.env"
        return Response(body, headers={"Content-Disposition": f'attachment; filename="{filename}"'})
