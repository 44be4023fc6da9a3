"""Every address of the REST API, under /api/v1/."""

from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter
from django.urls.resolvers import URLPattern, URLResolver

from moorage.api import deployments
from moorage.api.errors import unknown_address


class SegmentConverter(StringConverter):
    """One part of a path without control characters: PostgreSQL takes no NUL, and no name has the others."""

    regex = r"[^/\x00-\x1f\x7f]+"


register_converter(SegmentConverter, "segment")

app_name = "api"
_DEPLOYMENT = "deployments/<segment:name>"
urlpatterns: list[URLPattern | URLResolver] = [
    path("deployments", deployments.DeploymentsView.as_view(), name="deployments"),
    path(_DEPLOYMENT, deployments.DeploymentView.as_view(), name="deployment"),
    re_path(r"", unknown_address, name="unknown"),
]
