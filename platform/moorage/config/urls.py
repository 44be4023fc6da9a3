"""Every address of the control plane, by room."""

from django.urls import include, path, re_path

from moorage.api import errors as api_errors

urlpatterns = [
    path("api/v1/", include("moorage.api.urls")),
    # Unknown addresses of the API answer in its envelope, not with a page.
    re_path(r"^api(/|$)", api_errors.unknown_address),
    path("", include("moorage.billing.urls")),
    path("", include("moorage.console.urls")),
]

handler400 = "moorage.api.errors.bad_request"
handler404 = "moorage.api.errors.page_not_found"
handler500 = "moorage.api.errors.server_error"
