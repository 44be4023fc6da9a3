"""The fleet: every node, what it has, and what is reserved on it."""

import dataclasses

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from moorage.console.doors import administrator
from moorage.console.templatetags.shown import curl_command
from moorage.fleet import isolation_rows
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


def _cpus(millis: int) -> str:
    return f"{millis / 1000:g}"
