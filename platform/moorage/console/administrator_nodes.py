"""The fleet: every node, what it has, and what is reserved on it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from moorage.console.doors import administrator
from moorage.console.templatetags.shown import curl_command
from moorage.fleet import queries as fleet


@administrator
@require_safe
def nodes(request: HttpRequest) -> HttpResponse:
    """Nodes by name with their memory, CPUs and devices."""
    context = {"nodes": fleet.nodes().prefetch_related("devices"), "command": curl_command("admin/nodes")}
    return render(request, "administrator/nodes.html", context)
