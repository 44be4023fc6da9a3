"""The OpenAPI 3.1 document, made from the operations themselves, once a process."""

import functools
import json
import threading
from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.settings import patched_settings
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api.doors import PublicView
from moorage.api.operation import Answer, operation

#: drf-spectacular's settings on top of the instance's: one name for each set of choices.
SETTINGS: Final[dict[str, Any]] = {
    "ENUM_NAME_OVERRIDES": {
        "ApprovalStatus": "moorage.billing.models.ApprovalStatus",
        "DeploymentStatus": "moorage.deployments.models.DeploymentStatus",
        "ReplicaStatus": "moorage.deployments.models.ReplicaStatus",
        "InvoiceStatus": "moorage.billing.models.InvoiceStatus",
        "Standing": "moorage.accounts.models.Standing",
        "Scope": "moorage.accounts.models.Scope",
        "Meter": "moorage.billing.models.Meter",
    },
}


class KeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Documents KeyAuthentication."""

    target_class = "moorage.api.authentication.KeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, _auto_schema: AutoSchema) -> dict[str, Any]:
        """A bearer token."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key `mk_live_…` with the scope `manage`; under `/admin/` with the scope `admin`.",
        }


class DocumentSerializer(serializers.Serializer):
    """This document."""

    openapi = serializers.CharField()


class OpenApiView(PublicView):
    """The document."""

    @operation(
        id="getOpenApi",
        tag="Health",
        summary="Read this document",
        is_public=True,
        answers={
            200: Answer(description="OpenAPI 3.1.", kind=DocumentSerializer, example={"openapi": "3.1.0"}),
        },
    )
    def get(self, _request: Request) -> Response:
        """Every operation of this API with its errors and examples. Anybody may read it."""
        return Response(document())


#: drf-spectacular loads its extensions on first use, and two threads at once trip over each other there.
_generating: Final = threading.Lock()


@functools.cache
def document() -> dict[str, Any]:
    """The whole document, as JSON types only."""
    with _generating, patched_settings(SETTINGS):
        schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    found: dict[str, Any] = json.loads(OpenApiJsonRenderer().render(schema, renderer_context={}))
    return found
