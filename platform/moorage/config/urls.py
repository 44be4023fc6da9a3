"""Every address of the control plane, by room."""

from django.urls import include, path

urlpatterns = [
    path("api/v1/", include("moorage.api.urls")),
    path("", include("moorage.billing.urls")),
    path("", include("moorage.console.urls")),
]
