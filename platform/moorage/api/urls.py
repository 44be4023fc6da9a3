"""Every address of the REST API, under /api/v1/."""

from django.urls.resolvers import URLPattern, URLResolver

app_name = "api"
urlpatterns: list[URLPattern | URLResolver] = []
