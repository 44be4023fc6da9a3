"""The addresses of usage, statements, invoices and the administrator's pages; urls.py includes them at the root."""

from django.urls.resolvers import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
