"""The fleet: every node, what it has, and what is reserved on it."""

import dataclasses

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from moorage.console.doors import actor_of, administrator
from moorage.console.templatetags.shown import curl_command
from moorage.fleet import isolation_rows
from moorage.fleet import nodes as verbs
from moorage.fleet import queries as fleet
from moorage.fleet.models import Node


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeRow:
    """A node with its CPUs in words and its memory as a share."""

    node: Node
    cpus: str
    used_cpus: str
    #: Of the memory, in thousandths: the length of a bar.
    used_memory: int


@administrator
@require_safe
def nodes(request: HttpRequest) -> HttpResponse:
    """Nodes by name with their memory, CPUs and devices."""
    rows = [
        NodeRow(
            node=node,
            cpus=_cpus(node.cpu_millis),
            used_cpus=_cpus(node.used_cpu_millis),
            used_memory=1000 * node.used_memory_bytes // max(1, node.memory_bytes),
        )
        for node in fleet.nodes().prefetch_related("devices")
    ]
    context = {"rows": rows, "host_walls": isolation_rows.host_walls(), "command": curl_command("admin/nodes")}
    return render(request, "administrator/nodes.html", context)


@administrator
@require_POST
def drain_node(request: HttpRequest, name: str) -> HttpResponse:
    """What runs there is brought up elsewhere, and nothing new starts there."""
    node = verbs.named(name)
    why = request.POST.get("why", "").strip()
    if not why:
        messages.error(request, f"Say why {node.name} is drained: whoever waits for room reads it.")
        return redirect("console:admin_nodes")
    verbs.drain(node=node, why=why, by=actor_of(request))
    messages.success(request, f"{node.name} takes nothing new. What runs there leaves when it runs elsewhere.")
    return redirect("console:admin_nodes")


@administrator
@require_POST
def undrain_node(request: HttpRequest, name: str) -> HttpResponse:
    """It takes replicas again."""
    node = verbs.named(name)
    verbs.undrain(node=node, by=actor_of(request))
    messages.success(request, f"{node.name} takes replicas again.")
    return redirect("console:admin_nodes")


def _cpus(millis: int) -> str:
    return f"{millis / 1000:g}"
